"""Progress of an attempt, as rank 0 records it in state.json, events.jsonl and the log."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Mapping
from typing import Any

import attrs

from trainers.checkpoints.async_checkpointer import Commit
from trainers.errors import CheckpointError
from trainers.run.run_figures import BestMetric
from trainers.run.run_record import RunRecord
from trainers.run.run_state import EventKind
from trainers.run.sections import SECTIONS, Section
from trainers.training.determinism import NO_GPU, VOLUME_PREFIX
from trainers.training.non_finite import NonFiniteStepError
from trainers.training.recent_figures import RecentRate, SmoothedLoss
from trainers.training.slow_rate import RateMonitor
from trainers.training.startup import Startup
from trainers.training_iteration_stats import TrainingIterationStats
from trainers.weights.weights_report import WeightsReport

logger = logging.getLogger(__name__)

STATE_INTERVAL_S = 2.0
"""Seconds between two updates of state.json: every iteration would load a shared file system."""


class RunProgress:
    """Reports to state.json, events.jsonl and the log during an attempt; any thread may call it.

    Nothing here waits for the disk: see `RunRecord`.
    """

    def __init__(self, record: RunRecord, num_iterations: int, startup: Startup | None) -> None:
        self._record = record
        self._num_iterations = num_iterations
        self._lock = threading.Lock()
        self._reported_at = time.monotonic()
        self._iteration = 0
        self._unsaved = {"skipped": 0, "failed": 0}
        self._rate = RateMonitor()
        self._figures = record.state.figures
        self._loss = SmoothedLoss(self._figures.loss)
        self._recent_rate = RecentRate()
        self._is_wandb_silent = False
        self._startup: Startup | None = startup
        """None once the first iteration is reported, and after a rewind."""

    def begin(self, iteration: int, *, restored: bool, num_nodes: int = 1) -> None:
        """Record that the attempt resumes from the checkpoint of an iteration, or starts at 0."""
        self.event(EventKind.RESTORED if restored else EventKind.STARTED, iteration=iteration)
        self._rate = RateMonitor(self._record.state.fastest_iteration_s)
        figures: dict[str, Any] = {"node": socket.gethostname(), "num_nodes": num_nodes}
        if not restored:
            self._loss = SmoothedLoss()
            figures["loss"] = None
        figures["best"] = self._best_up_to(iteration)
        self._update_state(
            iteration=iteration, saved_iteration=iteration, concern="", figures=figures
        )

    def saved(self, commit: Commit) -> None:
        """Record a committed checkpoint."""
        self.event(
            EventKind.CHECKPOINT,
            iteration=commit.iteration,
            stall_s=round(commit.stall_s, 4),
            durable_s=round(commit.durable_s, 4),
        )
        self._update_state(
            iteration=commit.iteration,
            saved_iteration=commit.iteration,
            figures={"best": commit.best},
        )

    def went_back(self, iteration: int) -> None:
        """Record that newer checkpoints than that of an iteration are no longer trusted."""
        self._iteration = iteration
        self._update_state(
            iteration=iteration,
            saved_iteration=iteration,
            figures={"best": self._best_up_to(iteration)},
        )

    def skipped(self, iteration: int) -> None:
        """Record a checkpoint that was skipped: an earlier one is still being written."""
        self._unsaved["skipped"] += 1
        self.event(EventKind.CHECKPOINT_SKIPPED, iteration=iteration)

    def not_saved(self, iteration: int, error: CheckpointError) -> None:
        """Record a checkpoint that could not be written."""
        self._unsaved["failed"] += 1
        self.event(EventKind.CHECKPOINT_FAILED, iteration=iteration, reason=str(error))

    def initialized(self, report: WeightsReport) -> None:
        """Record which weights of another run the network starts with."""
        logger.info("%s", report.text)
        self.event(EventKind.INITIALIZED, **attrs.asdict(report))

    def environment(self, environment: Mapping[str, str], volumes: Mapping[str, str]) -> None:
        """Record where the attempt runs, and what it reads.

        Args:
            volumes: The identities that no checkpoint has recorded yet.
        """
        gpu = environment["gpu"]
        self.event(
            EventKind.ENVIRONMENT,
            node=socket.gethostname(),
            gpu="" if gpu == NO_GPU else gpu,
            volumes={key.removeprefix(VOLUME_PREFIX): each for key, each in volumes.items()},
        )

    def not_reproducible(self, reason: str) -> None:
        """Record why the attempt does not give the same bits as a run that was never stopped."""
        logger.warning("this run is not reproducible bit for bit: %s", reason)
        self.event(EventKind.NOT_REPRODUCIBLE, reason=reason)

    def non_finite(self, error: NonFiniteStepError) -> None:
        """Record an iteration that ends the attempt, or from which it goes back."""
        action = "rewind" if error.goes_back else "stop"
        logger.warning("%s", error)
        self.event(
            EventKind.NON_FINITE, iteration=error.iteration, action=action, reason=str(error)
        )

    def event(self, kind: EventKind, **details: Any) -> None:
        """Add a line to events.jsonl."""
        self._record.event(kind, **details)

    def report(self, stats: TrainingIterationStats) -> None:
        """Report a completed iteration, every STATE_INTERVAL_S at most, and the start-up once."""
        if self._startup:
            self._report_start(stats, self._startup)
            self._startup = None
        if stats.non_finite:
            self.event(
                EventKind.NON_FINITE,
                iteration=stats.iteration,
                action="skip",
                reason=stats.non_finite,
            )
        done = stats.iteration + 1
        now = time.monotonic()
        self._loss.add(stats.loss)
        if self._recent_rate.is_new:  # from here on: the first iteration compiles
            self._recent_rate.report(done, now)
        if now < self._reported_at + STATE_INTERVAL_S and done != self._num_iterations:
            return
        self._reported_at = now
        self._recent_rate.report(done, now)
        figures: dict[str, Any] = {"loss": self._loss.value}
        if (rate := self._recent_rate.value) is not None:
            figures["iterations_per_s"] = rate
        self._update_state(
            iteration=done,
            figures=figures,
            slowest_sections_s=SECTIONS.learned(),
            fastest_iteration_s=self._rate.fastest_iteration_s,
            concern=self._concern(done),
        )
        logger.info(
            "iteration %d of %d, loss %.4f, %.2f s a step, %.2f s of it waiting for data%s",
            done,
            self._num_iterations,
            stats.loss,
            stats.time + stats.data_wait,
            stats.data_wait,
            "".join(f"; saves {how}: {count}" for how, count in self._unsaved.items() if count),
        )

    def _concern(self, iteration: int) -> str:
        """Return what is amiss with this attempt, and record it if it is new, or over."""
        was_slow = self._rate.slow
        self._rate.observe(iteration, dict(SECTIONS.spent_s))
        slow = self._rate.slow
        if slow and not was_slow:
            logger.warning("%s", slow)
            self.event(EventKind.SLOW, iteration=iteration, reason=slow)
        elif was_slow and not slow:
            self.event(EventKind.RECOVERED, iteration=iteration)
        was_silent, self._is_wandb_silent = self._is_wandb_silent, Section.WANDB in SECTIONS.silent
        silent = "W&B does not answer; training continues without it" * self._is_wandb_silent
        if silent and not was_silent:
            logger.warning("%s", silent)
            self.event(EventKind.WANDB_SILENT, iteration=iteration)
        return "; ".join(filter(None, (slow, silent, *list(self._record.concerns.values()))))

    def _report_start(self, stats: TrainingIterationStats, startup: Startup) -> None:
        times, reading_s = startup.times, startup.prefetch.seconds
        times.end("first samples", seconds_ago=stats.time)
        self.event(
            EventKind.BEGAN,
            iteration=stats.iteration,
            seconds=round(times.total_s, 3),
            parts={part: round(seconds, 3) for part, seconds in times.seconds.items()},
            reading_s=round(reading_s, 3),
            iteration_s=round(stats.time, 3),
        )
        reading = f"; checkpoint read and verified in {reading_s:.2f} s meanwhile"
        logger.info(
            "iteration %d started %.2f s after the process: %s%s",
            stats.iteration + 1,
            times.total_s,
            times,
            reading if stats.iteration else "",
        )

    def _best_up_to(self, iteration: int) -> BestMetric | None:
        """Return the best metric; None if its checkpoint is gone: the next commit finds another."""
        best = self._figures.best
        return best if best and best.iteration <= iteration else None

    def _update_state(
        self, *, iteration: int, figures: Mapping[str, Any] = {}, **changes: Any
    ) -> None:
        """Update state.json; a save that ends late does not set the iteration back."""
        with self._lock:
            self._iteration = max(self._iteration, iteration)
            self._figures = attrs.evolve(self._figures, alive_at=round(time.time(), 3), **figures)
            self._record.update(iteration=self._iteration, figures=self._figures, **changes)

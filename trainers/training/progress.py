"""What the first rank tells about an attempt while it trains."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import attrs

from trainers.checkpoints.async_checkpointer import Commit
from trainers.errors import CheckpointError
from trainers.run.run_folder import RunFolder
from trainers.run.run_state import EventKind, append_event, read_state, write_state
from trainers.training.startup import EarlyStart
from trainers.training_iteration_stats import TrainingIterationStats
from trainers.weights.weights_report import WeightsReport

logger = logging.getLogger(__name__)

STATE_INTERVAL_S = 2.0
"""How often at most state.json follows the training."""


class RunProgress:
    """Keeps state.json, events.jsonl and the log abreast of an attempt; any thread may call it."""

    def __init__(self, folder: RunFolder, num_iterations: int, early: EarlyStart) -> None:
        self._folder = folder
        self._num_iterations = num_iterations
        self._lock = threading.Lock()
        self._told_at = time.monotonic()
        self._iteration = 0
        self._unsaved = {"skipped": 0, "failed": 0}
        self._is_cut_off = False
        self._early: EarlyStart | None = early
        """Until the first iteration is reported."""

    def begin(self, iteration: int, *, restored: bool) -> None:
        """The attempt goes on from an iteration, which a checkpoint holds, or from the start."""
        self.event(EventKind.RESTORED if restored else EventKind.STARTED, iteration=iteration)
        self._note(iteration=iteration, saved_iteration=iteration)

    def saved(self, commit: Commit) -> None:
        """A checkpoint is committed."""
        self.event(
            EventKind.CHECKPOINT,
            iteration=commit.iteration,
            stall_s=round(commit.stall_s, 4),
            durable_s=round(commit.durable_s, 4),
        )
        self._note(iteration=commit.iteration, saved_iteration=commit.iteration)

    def skipped(self, iteration: int) -> None:
        """There is no checkpoint of this iteration, as an earlier one is still being written."""
        self._unsaved["skipped"] += 1
        self.event(EventKind.CHECKPOINT_SKIPPED, iteration=iteration)

    def not_saved(self, iteration: int, error: CheckpointError) -> None:
        """There is no checkpoint of this iteration, as it could not be written."""
        self._unsaved["failed"] += 1
        self.event(EventKind.CHECKPOINT_FAILED, iteration=iteration, reason=str(error))

    def initialized(self, found: WeightsReport) -> None:
        """The network begins with weights of another run."""
        logger.info("%s", found.text)
        self.event(EventKind.INITIALIZED, **attrs.asdict(found))

    def not_reproducible(self, reason: str) -> None:
        """Record that the attempt will not be bit for bit as if there had been no stop."""
        logger.warning("this run is not reproducible bit for bit: %s", reason)
        self.event(EventKind.NOT_REPRODUCIBLE, reason=reason)

    def event(self, kind: EventKind, **details: Any) -> None:
        with self._in_spite_of_the_disk():
            append_event(self._folder, kind, **details)

    def report(self, stats: TrainingIterationStats) -> None:
        """An iteration is done; told now and then, and of the first one how long its start took."""
        if self._early:
            self._report_start(stats, self._early)
            self._early = None
        done = stats.iteration + 1
        now = time.monotonic()
        if now < self._told_at + STATE_INTERVAL_S and done != self._num_iterations:
            return
        self._told_at = now
        self._note(iteration=done)
        logger.info(
            "iteration %d of %d, loss %.4f, %.2f s a step, %.2f s of it waiting for data%s",
            done,
            self._num_iterations,
            stats.loss,
            stats.time + stats.data_wait,
            stats.data_wait,
            "".join(f"; saves {how}: {count}" for how, count in self._unsaved.items() if count),
        )

    def _report_start(self, stats: TrainingIterationStats, early: EarlyStart) -> None:
        times, reading_s = early.times, early.restoration.seconds
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
            "iteration %d began %.2f s after the process: %s%s",
            *(stats.iteration + 1, times.total_s, times, reading if stats.iteration else ""),
        )

    def _note(self, *, iteration: int, **changes: Any) -> None:
        """Change the run's state; a save that ends late does not bring the iteration back."""
        with self._lock, self._in_spite_of_the_disk():
            self._iteration = max(self._iteration, iteration)
            state = attrs.evolve(read_state(self._folder), iteration=self._iteration, **changes)
            write_state(self._folder, state)

    @contextmanager
    def _in_spite_of_the_disk(self) -> Iterator[None]:
        """Let no training end because nobody can be told of it."""
        try:
            yield
        except OSError as error:
            if not self._is_cut_off:
                logger.warning(
                    "what this run does cannot be told in %s at present: %s",
                    *(self._folder.path, error.strerror),
                )
            self._is_cut_off = True
        else:
            self._is_cut_off = False

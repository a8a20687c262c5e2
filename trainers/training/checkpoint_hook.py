"""Checkpoint hooks: when to save a run during training, and what goes into a checkpoint."""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

from trainers.checkpoints.async_checkpointer import AsyncCheckpointer
from trainers.config.checkpoint_config import CheckpointConfig
from trainers.errors import ConfigError
from trainers.training.progress import RunProgress
from trainers.training.random_state import RandomState


class CheckpointSchedule:
    """When to save: at multiples of a number of iterations, or some time after the last save.

    Args:
        every_iterations, every_minutes: None turns one of the two rules off.
        now_s: Seconds on a monotonic clock; the first period starts here.
    """

    def __init__(
        self, *, every_iterations: int | None, every_minutes: float | None, now_s: float
    ) -> None:
        self._every_iterations = every_iterations
        self._period_s = None if every_minutes is None else 60 * every_minutes
        self._last_s = now_s

    def is_due(self, iteration: int, *, now_s: float) -> bool:
        """Return whether to save after this many iterations; if so, a new period starts."""
        every, period_s = self._every_iterations, self._period_s
        due = (every is not None and iteration % every == 0) or (
            period_s is not None and now_s >= self._last_s + period_s
        )
        if due:
            self._last_s = now_s
        return due


class CheckpointHook(ABC):
    """Called after every iteration, when trainer, model and optimizer are at the same iteration."""

    @abstractmethod
    def after_iteration(
        self, iteration: int, row: Mapping[str, float], random_state: RandomState
    ) -> float | None:
        """Save if it is time to, in the background; a failure costs this checkpoint only.

        Args:
            iteration: Completed iterations.
            row: Scalars of the last one.
            random_state: The state that the next iteration starts from.

        Returns:
            The seconds for which training waits for the copy of its state; None if no save begins.
        """

    @abstractmethod
    def at_end(self, iteration: int, row: Mapping[str, float], random_state: RandomState) -> None:
        """Save at the end of the training, and return once the checkpoint is committed.

        Raises:
            CheckpointError: The checkpoint cannot be written.
        """

    @abstractmethod
    def at_interruption(self, iteration: int, random_state: RandomState) -> None:
        """Do the same between two iterations, after `after_iteration` was called for the last one.

        Raises:
            CheckpointError: The checkpoint cannot be written.
        """


class NullCheckpointHook(CheckpointHook):
    """Does nothing: rank 0 saves."""

    def after_iteration(
        self, iteration: int, row: Mapping[str, float], random_state: RandomState
    ) -> None:
        return None

    def at_end(self, iteration: int, row: Mapping[str, float], random_state: RandomState) -> None:
        pass

    def at_interruption(self, iteration: int, random_state: RandomState) -> None:
        pass


class RunCheckpointHook(CheckpointHook):
    """Saves in the background, and at the end in the foreground.

    Args:
        state_of: Returns the state dict of the run, including the given random state.
        verified: Returns the completed iterations up to which steps were verified.
    """

    def __init__(
        self,
        checkpointer: AsyncCheckpointer,
        config: CheckpointConfig,
        *,
        state_of: Callable[[RandomState], dict[str, Any]],
        progress: RunProgress,
        verified: Callable[[], int | None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._checkpointer = checkpointer
        self._keep_best = config.keep_best
        self._state_of = state_of
        self._progress = progress
        self._verified = verified
        self._clock = clock
        self._schedule = CheckpointSchedule(
            every_iterations=config.every_iterations,
            every_minutes=config.every_minutes,
            now_s=clock(),
        )
        self._is_prepared = False
        self._sums: dict[str, tuple[float, int]] = {}
        """Sum and number of the finite values of each scalar since the last save."""

    def after_iteration(
        self, iteration: int, row: Mapping[str, float], random_state: RandomState
    ) -> float | None:
        self._add(row)
        if not self._is_prepared:  # an optimizer creates its state in its first step
            self._checkpointer.prepare(self._state_of(random_state))
            self._is_prepared = True
        if not self._schedule.is_due(iteration, now_s=self._clock()):
            return None
        began = time.perf_counter()
        is_started = self._checkpointer.start(
            iteration, self._state_of(random_state), self._take_means(), self._verified()
        )
        if not is_started:
            self._progress.skipped(iteration)
            return None
        return time.perf_counter() - began

    def at_end(self, iteration: int, row: Mapping[str, float], random_state: RandomState) -> None:
        self._add(row)
        self.at_interruption(iteration, random_state)

    def at_interruption(self, iteration: int, random_state: RandomState) -> None:
        self._checkpointer.save(
            iteration, self._state_of(random_state), self._take_means(), self._verified()
        )

    def _add(self, row: Mapping[str, float]) -> None:
        if self._keep_best is not None and self._keep_best.metric not in row:
            raise ConfigError(
                f"checkpoint.keep_best.metric: found {self._keep_best.metric!r}; "
                f"this run has: {', '.join(sorted(row))}"
            )
        for name, value in row.items():
            total, number = self._sums.get(name, (0.0, 0))
            if math.isfinite(value):  # a step that was left out has no loss
                self._sums[name] = total + value, number + 1

    def _take_means(self) -> dict[str, float]:
        """Return the mean of each scalar since the last call: what `keep_best` compares."""
        means = {name: total / number for name, (total, number) in self._sums.items()}
        self._sums = {}
        return means

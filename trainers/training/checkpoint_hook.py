"""Save a run while it is trained: when, what, and who is told."""

from __future__ import annotations

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
    """At multiples of some number of iterations, and at latest some time after the save before.

    Args:
        every_iterations, every_minutes: None for one that does not count.
        now_s: On a clock that only goes forward; the time counts from here.
    """

    def __init__(
        self, *, every_iterations: int | None, every_minutes: float | None, now_s: float
    ) -> None:
        self._every_iterations = every_iterations
        self._period_s = None if every_minutes is None else 60 * every_minutes
        self._last_s = now_s

    def is_due(self, iteration: int, *, now_s: float) -> bool:
        """Whether to save after so many iterations; if so, the time counts from now on."""
        every, period_s = self._every_iterations, self._period_s
        due = (every is not None and iteration % every == 0) or (
            period_s is not None and now_s >= self._last_s + period_s
        )
        if due:
            self._last_s = now_s
        return due


class CheckpointHook(ABC):
    """Called after every iteration, once trainer, model and optimizer agree on it."""

    @abstractmethod
    def after_iteration(
        self, iteration: int, row: Mapping[str, float], random_state: RandomState
    ) -> None:
        """Save if it is time to, without holding the training up; a failure is no more than that.

        Args:
            iteration: How many are done.
            row: The scalars of the last one.
            random_state: With which the next one begins.
        """

    @abstractmethod
    def at_end(self, iteration: int, row: Mapping[str, float], random_state: RandomState) -> None:
        """Save, as the training ends here; on return that is done.

        Raises:
            CheckpointError: It cannot be.
        """


class NullCheckpointHook(CheckpointHook):
    """Leaves it to another rank."""

    def after_iteration(
        self, iteration: int, row: Mapping[str, float], random_state: RandomState
    ) -> None:
        pass

    def at_end(self, iteration: int, row: Mapping[str, float], random_state: RandomState) -> None:
        pass


class RunCheckpointHook(CheckpointHook):
    """Saves in the background, and at the end in the foreground.

    Args:
        state_of: Gives the run's state, with a random state in it.
    """

    def __init__(
        self,
        checkpointer: AsyncCheckpointer,
        config: CheckpointConfig,
        *,
        state_of: Callable[[RandomState], dict[str, Any]],
        progress: RunProgress,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._checkpointer = checkpointer
        self._keep_best = config.keep_best
        self._state_of = state_of
        self._progress = progress
        self._clock = clock
        self._schedule = CheckpointSchedule(
            every_iterations=config.every_iterations,
            every_minutes=config.every_minutes,
            now_s=clock(),
        )
        self._is_prepared = False
        self._sums: dict[str, float] = {}
        self._num_rows = 0

    def after_iteration(
        self, iteration: int, row: Mapping[str, float], random_state: RandomState
    ) -> None:
        self._add(row)
        if not self._is_prepared:  # only now the optimizer has all of its state
            self._checkpointer.prepare(self._state_of(random_state))
            self._is_prepared = True
        if self._schedule.is_due(iteration, now_s=self._clock()):
            begun = self._checkpointer.start(
                iteration,
                self._state_of(random_state),
                self._take_means(),
            )
            if not begun:
                self._progress.skipped(iteration)

    def at_end(self, iteration: int, row: Mapping[str, float], random_state: RandomState) -> None:
        self._add(row)
        self._checkpointer.save(iteration, self._state_of(random_state), self._take_means())

    def _add(self, row: Mapping[str, float]) -> None:
        if self._keep_best is not None and self._keep_best.metric not in row:
            raise ConfigError(
                f"checkpoint.keep_best.metric: found {self._keep_best.metric!r}; "
                f"this run has: {', '.join(sorted(row))}"
            )
        for name, value in row.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
        self._num_rows += 1

    def _take_means(self) -> dict[str, float]:
        """Of the rows since the last call."""
        means = {name: total / self._num_rows for name, total in self._sums.items()}
        self._sums, self._num_rows = {}, 0
        return means

"""Save a run while it is trained: when, what, and who is told."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from trainers.checkpoint_config import CheckpointConfig
from trainers.checkpoints.background_saver import BackgroundSaver
from trainers.errors import ConfigError
from trainers.random_state import RandomState
from trainers.run_progress import RunProgress
from trainers.save_schedule import SaveSchedule
from trainers.saving import Saving


class RunSaving(Saving):
    """Saves in the background, and at the end in the foreground.

    Args:
        state_of: Gives the run's state, with a random state in it.
    """

    def __init__(
        self,
        saver: BackgroundSaver,
        config: CheckpointConfig,
        *,
        state_of: Callable[[RandomState], dict[str, Any]],
        progress: RunProgress,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._saver = saver
        self._keep_best = config.keep_best
        self._state_of = state_of
        self._progress = progress
        self._clock = clock
        self._schedule = SaveSchedule(
            every_iterations=config.every_iterations,
            every_minutes=config.every_minutes,
            now_s=clock(),
        )
        self._is_prepared = False
        self._sums: dict[str, float] = {}
        self._num_rows = 0

    def go_on(self, iteration: int, row: Mapping[str, float], random_state: RandomState) -> None:
        self._add(row)
        if not self._is_prepared:  # only now the optimizer has all of its state
            self._saver.prepare(self._state_of(random_state))
            self._is_prepared = True
        if self._schedule.is_due(iteration, now_s=self._clock()):
            begun = self._saver.start(
                iteration,
                self._state_of(random_state),
                self._take_means(),
            )
            if not begun:
                self._progress.skipped(iteration)

    def end(self, iteration: int, row: Mapping[str, float], random_state: RandomState) -> None:
        self._add(row)
        self._saver.save(iteration, self._state_of(random_state), self._take_means())

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

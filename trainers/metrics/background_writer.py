"""A metric writer on a thread of its own, so that a slow or broken service cannot stop training."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from operator import methodcaller
from queue import SimpleQueue
from threading import Thread

from trainers.metrics.metric_writer import MetricWriter, NullWriter

logger = logging.getLogger(__name__)

MAX_WAITING_ROWS = 10_000
CLOSE_TIMEOUT_S = 15.0
"""More than W&B's own `finish_timeout`; within a preemption's grace, after the checkpoint."""

_KILLED_TIMEOUT_S = 5.0
"""A thread that hangs all the same, on a disk say, ends with the process."""

Opened = tuple[MetricWriter, Iterable[tuple[int, Mapping[str, float]]]]
"""A writer, and the rows of earlier attempts that it lacks, to be written first."""


class BackgroundWriter(MetricWriter):
    """Passes calls on from a thread of its own; nothing here raises, and only `close` blocks.

    A writer that raises, falls behind or does not close in time is abandoned, with one warning.

    Args:
        open_writer: Called on the thread, before anything else.
        name: Of the writer, in the warning.
        kill: Called when the writer does not close in time; must unblock it.
    """

    def __init__(
        self, open_writer: Callable[[], Opened], *, name: str, kill: Callable[[], None]
    ) -> None:
        self._open_writer = open_writer
        self._name = name
        self._kill = kill
        self._is_abandoned = False
        self._calls: SimpleQueue[Callable[[MetricWriter], None] | None] = SimpleQueue()
        self._thread = Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def write(self, iteration: int, scalars: Mapping[str, float]) -> None:
        self._put(methodcaller("write", iteration, dict(scalars)))

    def sync(self) -> None:
        """Do nothing: checkpoints wait for `sync`, and must not wait for a slow service."""

    def close(self, *, finished: bool, preempted: bool) -> None:
        self._put(methodcaller("close", finished=finished, preempted=preempted))
        self._calls.put(None)
        self._thread.join(CLOSE_TIMEOUT_S)
        if self._thread.is_alive():
            self._abandon(f"it did not close within {CLOSE_TIMEOUT_S:.0f} s")
            self._kill()
            self._thread.join(_KILLED_TIMEOUT_S)

    def _put(self, call: Callable[[MetricWriter], None]) -> None:
        if self._calls.qsize() >= MAX_WAITING_ROWS:
            self._abandon(f"it is {MAX_WAITING_ROWS} rows behind")
        if not self._is_abandoned:
            self._calls.put(call)

    def _work(self) -> None:
        writer: MetricWriter = NullWriter()
        try:
            writer, backlog = self._open_writer()
            for iteration, scalars in backlog:
                writer.write(iteration, scalars)
            for call in iter(self._calls.get, None):
                call(writer)
        except Exception as error:  # no failure of the service may end the training
            self._abandon(repr(error))
        if self._is_abandoned:
            with suppress(Exception):
                writer.close(finished=False, preempted=False)

    def _abandon(self, reason: str) -> None:
        if not self._is_abandoned:
            self._is_abandoned = True
            logger.warning("training continues without %s: %s", self._name, reason)

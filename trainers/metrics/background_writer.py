"""Keep training safe from a writer that is slow, hangs or breaks."""

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

Opened = tuple[MetricWriter, Iterable[tuple[int, Mapping[str, float]]]]
"""A writer, and rows that go before everything else."""


class BackgroundWriter(MetricWriter):
    """Passes everything on from a thread of its own; nothing here raises, and only `close` waits.

    A writer that raises, falls behind or does not end is given up, with one warning.

    Args:
        open_writer: Called on the thread, first of all.
        name: What the warning calls the writer.
        kill: Called when the writer has not ended in time; must make it end.
    """

    def __init__(
        self, open_writer: Callable[[], Opened], *, name: str, kill: Callable[[], None]
    ) -> None:
        self._open_writer = open_writer
        self._name = name
        self._kill = kill
        self._given_up = False
        self._calls: SimpleQueue[Callable[[MetricWriter], None] | None] = SimpleQueue()
        self._thread = Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def write(self, iteration: int, scalars: Mapping[str, float]) -> None:
        self._put(methodcaller("write", iteration, dict(scalars)))

    def sync(self) -> None:
        """Does nothing: to wait for a slow writer is what this class is against."""

    def close(self, *, finished: bool, preempted: bool) -> None:
        self._put(methodcaller("close", finished=finished, preempted=preempted))
        self._calls.put(None)
        self._thread.join(CLOSE_TIMEOUT_S)
        if self._thread.is_alive():
            self._give_up(f"it has not ended within {CLOSE_TIMEOUT_S:.0f} s")
            self._kill()
            self._thread.join(CLOSE_TIMEOUT_S)

    def _put(self, call: Callable[[MetricWriter], None]) -> None:
        if self._calls.qsize() >= MAX_WAITING_ROWS:
            self._give_up(f"it is {MAX_WAITING_ROWS} rows behind")
        if not self._given_up:
            self._calls.put(call)

    def _work(self) -> None:
        writer: MetricWriter = NullWriter()
        try:
            writer, backlog = self._open_writer()
            for iteration, scalars in backlog:
                writer.write(iteration, scalars)
            for call in iter(self._calls.get, None):
                call(writer)
        except Exception as error:  # whatever it is, training must not die of it
            self._give_up(repr(error))
        if self._given_up:
            with suppress(Exception):
                writer.close(finished=False, preempted=False)

    def _give_up(self, reason: str) -> None:
        if not self._given_up:
            self._given_up = True
            logger.warning("training goes on without %s: %s", self._name, reason)

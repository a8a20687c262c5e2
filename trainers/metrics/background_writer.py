"""Keep training safe from a writer that is slow, hangs or breaks."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from threading import Thread

from trainers.metrics.metric_writer import MetricWriter

logger = logging.getLogger(__name__)

MAX_WAITING_ROWS = 10_000
CLOSE_TIMEOUT_S = 15.0


class BackgroundWriter(MetricWriter):
    """Passes everything on from a thread of its own; nothing here raises, and only `close` waits.

    A writer that raises, falls behind or does not end is given up, with one warning.

    Args:
        name: What the warning calls the writer.
        backlog: Rows that go before everything else.
        kill: Called when the writer has not ended in time; must make it end.
    """

    def __init__(
        self,
        writer: MetricWriter,
        *,
        name: str,
        backlog: Iterable[tuple[int, Mapping[str, float]]],
        kill: Callable[[], None],
    ) -> None:
        self._writer = writer
        self._name = name
        self._kill = kill
        self._given_up = False
        self._calls: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread = Thread(target=self._work, args=(backlog,), name=name, daemon=True)
        self._thread.start()

    def write(self, iteration: int, scalars: Mapping[str, float]) -> None:
        self._put(partial(self._writer.write, iteration, dict(scalars)))

    def sync(self) -> None:
        """Does nothing: to wait for a slow writer is what this class is against."""

    def close(self, *, finished: bool, preempted: bool) -> None:
        self._put(partial(self._writer.close, finished=finished, preempted=preempted))
        self._calls.put(None)
        self._thread.join(CLOSE_TIMEOUT_S)
        if self._thread.is_alive():
            self._give_up(f"it has not ended within {CLOSE_TIMEOUT_S:.0f} s")
            self._kill()
            self._thread.join(CLOSE_TIMEOUT_S)

    def _put(self, call: Callable[[], None]) -> None:
        if self._calls.qsize() >= MAX_WAITING_ROWS:
            self._give_up(f"it is {MAX_WAITING_ROWS} rows behind")
        if not self._given_up:
            self._calls.put(call)

    def _work(self, backlog: Iterable[tuple[int, Mapping[str, float]]]) -> None:
        try:
            for iteration, scalars in backlog:
                self._writer.write(iteration, scalars)
            for call in iter(self._calls.get, None):
                call()
        except Exception as error:  # whatever it is, training must not die of it
            self._give_up(repr(error))
        if self._given_up:
            with suppress(Exception):
                self._writer.close(finished=False, preempted=False)

    def _give_up(self, reason: str) -> None:
        if not self._given_up:
            self._given_up = True
            logger.warning("training goes on without %s: %s", self._name, reason)

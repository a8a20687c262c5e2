"""Feed a service with the rows of metrics.jsonl, so that it cannot slow down or stop a training."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from trainers.metrics.metric_writer import MetricWriter
from trainers.metrics.row_transfer import OpenService, Reporter, Transfer
from trainers.metrics.turns import Turns
from trainers.run.backoff import delays
from trainers.run.metric_rows import RowReader
from trainers.run.sections import SECTIONS, Section, beat, section

CLOSE_TIMEOUT_S = 15.0
"""More than W&B's own `finish_timeout`; within a preemption's grace, after the checkpoint."""
UPLOAD_PATIENCE_S = 300.0
"""What a finished run waits in addition for the files of its last checkpoint to arrive, if it sends
them: no later attempt would."""
FIRST_DELAY_S = 10.0
LONGEST_DELAY_S = 600.0
"""Between two tries to open a service that fails."""
_BEAT_S = 1.0
_KILLED_TIMEOUT_S = 5.0
"""A thread that hangs all the same, on a disk say, ends with the process."""


class RowFeed(MetricWriter):
    """Passes the rows of a file on to a service, from a thread of its own.

    Nothing here raises, and only `close` blocks. No row is kept in memory: the thread reads
    them from the file, from the first one that the service lacks. A service that cannot be opened,
    breaks, or turns out to have lost rows is opened anew, with backoff, while the training goes on.

    Args:
        path: metrics.jsonl, which another writer appends to.
        open_service: Called on the thread, again after each failure; told whether it has succeeded
            before. May raise.
        kill: Called from any thread when the service hangs; must unblock it.
        turns: Bounds how many runs have the service open at once.
        finish_patience_s: How much longer `close` may take if the run is finished.
    """

    def __init__(
        self,
        path: Path,
        open_service: Callable[[bool], OpenService],
        *,
        name: str,
        kill: Callable[[], None],
        reporter: Reporter,
        turns: Turns,
        finish_patience_s: float = 0.0,
    ) -> None:
        self._path = path
        self._open_service = open_service
        self._name = name
        self._kill = kill
        self._reporter = reporter
        self._turns = turns
        self._finish_patience_s = finish_patience_s
        self._end: dict[str, bool] | None = None
        self._closing = threading.Event()
        self._was_open = self._has_opened = False
        self._is_killed = False
        self._is_given_up = False
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def write(self, iteration: int, scalars: Mapping[str, float]) -> None:
        """Do nothing with the row, which the thread reads from the file; end what hangs."""
        if Section.WANDB in SECTIONS.silent and not self._is_killed:
            self._is_killed = True
            self._kill()

    def sync(self) -> None:
        """Do nothing: checkpoints wait for `sync`, and must not wait for a slow service."""

    def close(self, *, finished: bool, preempted: bool) -> None:
        """End the report; the file must have all rows by now."""
        self._end = {"finished": finished, "preempted": preempted}
        self._closing.set()
        timeout_s = CLOSE_TIMEOUT_S + (self._finish_patience_s if finished else 0.0)
        deadline = time.monotonic() + timeout_s
        while self._thread.is_alive() and (left := deadline - time.monotonic()) > 0:
            beat()  # this has a bound of its own
            self._thread.join(min(left, _BEAT_S))
        if self._thread.is_alive():
            self._failed(TimeoutError(f"it did not close within {timeout_s:.0f} s"))
            self._is_given_up = True
            self._kill()
            self._thread.join(_KILLED_TIMEOUT_S)
            if self._thread.is_alive():  # it may have opened another one meanwhile
                self._kill()
        self._reporter.ended()

    def _work(self) -> None:
        waits = delays(FIRST_DELAY_S, LONGEST_DELAY_S)
        self._closing.wait(self._turns.first_delay_s())
        while not self._is_given_up:  # or nobody would end the service that is opened next
            was_closing = self._closing.is_set()
            self._has_opened = False
            try:
                with self._turns.turn(self._closing) as may_feed:
                    if not may_feed or self._feed():
                        return
                waits = delays(FIRST_DELAY_S, LONGEST_DELAY_S)
            except Exception as error:  # no failure of the service may end the training
                self._failed(error)
                is_closing = self._closing.wait(0.0 if was_closing else next(waits))
                # One that broke at the end gets another chance, one that is away does not.
                if is_closing and (was_closing or not self._has_opened):
                    return

    def _feed(self) -> bool:
        """Pass rows on; return whether the report has ended, rather than this run's turn."""
        with section(Section.WANDB):
            service = self._open_service(self._was_open)
        self._was_open = self._has_opened = True
        self._is_killed = False
        try:
            with RowReader(self._path, after=service.last_step) as rows:
                transfer = Transfer(
                    service, rows, self._reporter, self._closing, self._turns.is_over
                )
                is_over = transfer.pass_on()
                end = self._end if is_over and self._end else {"finished": False, "preempted": True}
                transfer.finish(**end)
        finally:
            with section(Section.WANDB):
                service.abandon()
        return is_over

    def _failed(self, error: BaseException) -> None:
        if not self._is_given_up:
            self._reporter.has_problem(error)

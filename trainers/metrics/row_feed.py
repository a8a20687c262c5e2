"""Feed a service with the rows of metrics.jsonl, so that it cannot slow down or stop a training."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from trainers.metrics.metric_writer import MetricWriter
from trainers.metrics.turns import Turns
from trainers.run.backoff import delays
from trainers.run.metric_rows import RowReader, last_iteration_of
from trainers.run.sections import SECTIONS, Section, section

logger = logging.getLogger(__name__)

CLOSE_TIMEOUT_S = 15.0
"""More than W&B's own `finish_timeout`; within a preemption's grace, after the checkpoint."""
FIRST_DELAY_S = 10.0
LONGEST_DELAY_S = 600.0
"""Between two tries to open a service that fails."""
CONFIRM_S = 300.0
"""Between two questions of how far the service has come; a thousand runs ask thrice a second."""
RETRY_S = 30.0
"""The same, while it does not answer or is far behind."""
LOST_AFTER_S = 120.0
"""A service that answers, and has had no progress with rows for so long, has lost them."""
POLL_S = 1.0
"""Rows are on disk about a second after their iteration."""
MAX_UNCONFIRMED_ROWS = 10_000
"""Handed over and not confirmed: W&B's service keeps them in memory, a day of them if need be."""
_BATCH_ROWS = 500
_NUM_LAST_QUESTIONS = 3
_CLOSING_TIMEOUT_S = 5.0
"""What a service that did not answer before gets at the end of an attempt."""
_KILLED_TIMEOUT_S = 5.0
"""A thread that hangs all the same, on a disk say, ends with the process."""


class OpenService(Protocol):
    """A service that a run is reported to, while it is open."""

    last_step: int
    """The last iteration that it had a row of when it was opened; -1 without one."""
    is_remote: bool
    """Whether there is a server that can be asked what has arrived."""

    def write(self, iteration: int, scalars: Mapping[str, float]) -> None: ...

    def confirmed(self, *, timeout_s: float = ...) -> int:
        """Return the last iteration that has arrived, if it is remote. May raise."""

    def close(self, *, finished: bool, preempted: bool) -> None:
        """Have everything arrive, and end. May raise."""

    def abandon(self) -> None:
        """End at once, without waiting for anything."""


class Reporter:
    """Is told what becomes of a feed; does nothing by default. On the feed's thread."""

    def confirmed(self, iteration: int) -> None:
        """All rows up to that of an iteration have arrived."""

    def has_problem(self, error: BaseException) -> None:
        """The service fails; called once for each reason in a row."""

    def recovered(self) -> None:
        """It works again."""

    def closed(self, *, finished: bool, preempted: bool) -> None:
        """All rows have arrived, and the service was told the end."""


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
    ) -> None:
        self._path = path
        self._open_service = open_service
        self._name = name
        self._kill = kill
        self._reporter = reporter
        self._turns = turns
        self._end: dict[str, bool] | None = None
        self._closing = threading.Event()
        self._was_open = False
        self._problem = ""
        self._is_killed = False
        self._is_given_up = False
        self._confirmed: int | None = None
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
        self._thread.join(CLOSE_TIMEOUT_S)
        if self._thread.is_alive():
            self._failed(TimeoutError(f"it did not close within {CLOSE_TIMEOUT_S:.0f} s"))
            self._is_given_up = True
            self._kill()
            self._thread.join(_KILLED_TIMEOUT_S)
        lacking = 0
        if self._confirmed is not None:
            with suppress(OSError):
                lacking = last_iteration_of(self._path) - self._confirmed
        if lacking > 0:
            logger.warning(
                "%s has no rows after iteration %d; `launch sync` sends them, or the next attempt",
                self._name,
                self._confirmed,
            )

    def _work(self) -> None:
        waits = delays(FIRST_DELAY_S, LONGEST_DELAY_S)
        self._closing.wait(self._turns.first_delay_s())
        while True:
            try:
                with self._turns.turn(self._closing) as may_feed:
                    if not may_feed or self._feed():
                        return
                waits = delays(FIRST_DELAY_S, LONGEST_DELAY_S)
            except Exception as error:  # no failure of the service may end the training
                self._failed(error)
                if self._closing.wait(next(waits)):
                    return

    def _feed(self) -> bool:
        """Pass rows on; return whether the report has ended, rather than this run's turn."""
        with section(Section.WANDB):
            service = self._open_service(self._was_open)
        self._was_open = True
        self._is_killed = False
        try:
            self._arrived(service, service.last_step)
            with RowReader(self._path, after=service.last_step) as rows:
                is_over = self._pass_on(service, rows)
                end = self._end if is_over and self._end else {"finished": False, "preempted": True}
                self._finish(service, rows.last_iteration, end)
        finally:
            with section(Section.WANDB):
                service.abandon()
        return is_over

    def _pass_on(self, service: OpenService, rows: RowReader) -> bool:
        """Pass rows on until the end of the report or of the turn; return whether it is the end."""
        unconfirmed = Unconfirmed(service.last_step)
        confirm_at = time.monotonic() + min(CONFIRM_S, RETRY_S)
        while True:
            is_closing = self._closing.is_set()  # asked first: the file has all rows by then
            room = MAX_UNCONFIRMED_ROWS - unconfirmed.count if service.is_remote else _BATCH_ROWS
            batch = rows.read(min(_BATCH_ROWS, room))
            with section(Section.WANDB):
                for iteration, scalars in batch:
                    service.write(iteration, scalars)
            now = time.monotonic()
            if batch and service.is_remote:
                unconfirmed.sent(len(batch), rows.last_iteration, now)
            if service.is_remote and now >= confirm_at:
                self._confirm(service, unconfirmed)
                is_behind = self._problem or unconfirmed.count >= MAX_UNCONFIRMED_ROWS // 2
                confirm_at = time.monotonic() + (
                    min(CONFIRM_S, RETRY_S) if is_behind else CONFIRM_S
                )
            if batch:
                continue
            if room > 0 and (is_closing or self._turns.is_over()):
                return is_closing
            time.sleep(POLL_S) if is_closing else self._closing.wait(POLL_S)

    def _confirm(self, service: OpenService, unconfirmed: Unconfirmed) -> None:
        """Ask how far the service has come.

        Raises:
            LostRowsError: It lacks rows that it was given long ago.
        """
        try:
            with section(Section.WANDB):
                iteration = service.confirmed()
        except Exception as error:
            unconfirmed.wait_on(time.monotonic())
            self._failed(error)
            return
        unconfirmed.arrived(iteration, time.monotonic())
        if unconfirmed.are_lost(time.monotonic()):
            raise LostRowsError(
                f"rows up to iteration {unconfirmed.last} were sent, of which those "
                f"after {iteration} have not arrived"
            )
        self._arrived(service, iteration)

    def _finish(self, service: OpenService, last: int, end: dict[str, bool]) -> None:
        if self._problem and self._closing.is_set():
            service.confirmed(timeout_s=_CLOSING_TIMEOUT_S)  # else closing would take as long
        with section(Section.WANDB):
            service.close(**end)
        if service.is_remote:
            self._arrived(service, _confirmed_in_the_end(service, last))
            self._reporter.closed(**end)

    def _arrived(self, service: OpenService, iteration: int) -> None:
        if self._problem:
            self._problem = ""
            self._reporter.recovered()
        if service.is_remote:
            self._confirmed = iteration
            self._reporter.confirmed(iteration)

    def _failed(self, error: BaseException) -> None:
        if self._problem != str(error) and not self._is_given_up:
            self._problem = str(error) or type(error).__name__
            self._reporter.has_problem(error)


class LostRowsError(Exception):
    """The service lacks rows that it was given."""


class Unconfirmed:
    """The rows that were handed over, and of which nobody knows yet whether they have arrived."""

    def __init__(self, arrived: int) -> None:
        self.last = arrived
        """The last iteration that was handed over."""
        self.count = 0
        self._batches: deque[tuple[int, int]] = deque()
        self._arrived = arrived
        self._no_progress_since = 0.0

    def sent(self, count: int, last: int, now: float) -> None:
        """Note that some rows were handed over."""
        if not self._batches:
            self._no_progress_since = now
        self._batches.append((last, count))
        self.count += count
        self.last = last

    def arrived(self, iteration: int, now: float) -> None:
        """Note how far the service has come."""
        if iteration > self._arrived:
            self._arrived, self._no_progress_since = iteration, now
        while self._batches and self._batches[0][0] <= iteration:
            self.count -= self._batches.popleft()[1]

    def wait_on(self, now: float) -> None:
        """Note that the service does not answer: its client tries again for as long."""
        self._no_progress_since = now

    def are_lost(self, now: float) -> bool:
        """Return whether the client must have given up on them."""
        return bool(self._batches) and now >= self._no_progress_since + LOST_AFTER_S


def _confirmed_in_the_end(service: OpenService, last: int) -> int:
    """Return how far a service has come that has sent everything.

    Raises:
        LostRowsError: It lacks rows.
    """
    for is_last in [*[False] * _NUM_LAST_QUESTIONS, True]:
        with section(Section.WANDB):
            arrived = service.confirmed(timeout_s=_CLOSING_TIMEOUT_S)
        if arrived >= last:
            return arrived
        if not is_last:
            time.sleep(POLL_S)  # the server may be a moment late
    raise LostRowsError(f"rows up to iteration {last} were sent, {arrived} arrived")

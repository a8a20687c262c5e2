"""Pass rows on from metrics.jsonl to a service, and find out what has arrived."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from threading import Event
from typing import Protocol

from trainers.run.metric_rows import RowReader
from trainers.run.sections import Section, section

CONFIRM_S = 300.0
"""Between two questions of how far the service has come; a thousand runs ask thrice a second."""
RETRY_S = 30.0
"""The same, while it does not answer."""
FULL_S = 5.0
"""The same, while no further rows may be handed over."""
LOST_AFTER_S = 120.0
"""A service that answers, and has had no progress with rows for so long, has lost them."""
POLL_S = 1.0
"""Rows are on disk about a second after their iteration."""
MAX_UNCONFIRMED_ROWS = 10_000
"""Handed over and not confirmed: W&B's service keeps them in memory, a day of them if need be."""
_BATCH_ROWS = 500
_NUM_LAST_QUESTIONS = 4
_LAST_TIMEOUT_S = 5.0
"""What a service that did not answer before gets in the end."""


class OpenService(Protocol):
    """A service that a run is reported to, while it is open."""

    last_step: int
    """The last iteration that it had a row of when it was opened; -1 without one."""
    is_remote: bool
    """Whether there is a server that can be asked what has arrived."""

    def write(self, iteration: int, scalars: Mapping[str, float]) -> None: ...

    def poll(self) -> None:
        """Is called about once a second."""

    def confirmed(self, *, timeout_s: float = ...) -> int:
        """Return the last iteration that has arrived, if it is remote. May raise."""

    def close(self, *, finished: bool, preempted: bool) -> None:
        """Have everything arrive, and end. May raise."""

    def abandon(self) -> None:
        """End at once, without waiting for anything."""


class Reporter:
    """Is told what becomes of a transfer; does nothing by default."""

    def confirmed(self, iteration: int) -> None:
        """All rows up to that of an iteration have arrived."""

    def has_problem(self, error: BaseException) -> None:
        """The service fails."""

    def answers(self) -> None:
        """The service works."""

    def closed(self, *, finished: bool, preempted: bool) -> None:
        """All rows have arrived, and the service was told the end."""

    def ended(self) -> None:
        """There will be no further transfer, whether all rows have arrived or not."""


class Transfer:
    """One time that a service is open. Passes rows on, and asks at times what has arrived.

    No row is kept in memory: they are read from the file as the service takes them.

    Args:
        service: Told the rows after its `last_step`.
        rows: Read from there.
        closing: Set once the file has all rows that there will be.
        is_turn_over: Polled; whether to stop before that.
    """

    def __init__(
        self,
        service: OpenService,
        rows: RowReader,
        reporter: Reporter,
        closing: Event,
        is_turn_over: Callable[[], bool] = lambda: False,
    ) -> None:
        self._service = service
        self._rows = rows
        self._reporter = reporter
        self._closing = closing
        self._is_turn_over = is_turn_over
        self._unconfirmed = Unconfirmed(service.last_step)
        self._has_problem = False
        self._confirm_at = time.monotonic() + min(CONFIRM_S, RETRY_S)
        self._arrived(service.last_step)

    def pass_on(self) -> bool:
        """Pass rows on until all are, or the turn is over; return whether all are.

        Raises:
            LostRowsError: The service lacks rows that it was given long ago.
            Exception: The service fails.
        """
        while True:
            is_closing = self._closing.is_set()  # asked first: the file has all rows by then
            is_turn_over = self._is_turn_over()  # also renews it
            room = _BATCH_ROWS
            if self._service.is_remote:
                room = min(room, MAX_UNCONFIRMED_ROWS - self._unconfirmed.count)
            batch = self._rows.read(room)
            with section(Section.WANDB):
                for iteration, scalars in batch:
                    self._service.write(iteration, scalars)
                self._service.poll()
            if self._service.is_remote:
                self._unconfirmed.sent(len(batch), self._rows.last_iteration, time.monotonic())
                self._confirm_if_due(is_full=room <= len(batch) and room < _BATCH_ROWS)
            if batch:
                continue
            if is_turn_over or (is_closing and room > 0):
                return is_closing and room > 0
            time.sleep(POLL_S) if is_closing else self._closing.wait(POLL_S)

    def finish(self, *, finished: bool, preempted: bool) -> None:
        """Have everything arrive, and end.

        Raises:
            LostRowsError: Not everything has arrived.
            Exception: The service fails.
        """
        if self._has_problem and self._closing.is_set():
            self._service.confirmed(timeout_s=_LAST_TIMEOUT_S)  # else closing would take as long
        with section(Section.WANDB):
            self._service.close(finished=finished, preempted=preempted)
        if self._service.is_remote:
            self._arrived(self._confirmed_in_the_end())
            self._reporter.closed(finished=finished, preempted=preempted)

    def _confirm_if_due(self, *, is_full: bool) -> None:
        now = time.monotonic()
        if is_full:
            self._confirm_at = min(self._confirm_at, now + FULL_S)
        if now < self._confirm_at:
            return
        try:
            with section(Section.WANDB):
                iteration = self._service.confirmed()
        except Exception as error:
            if is_full and self._closing.is_set():
                raise  # nobody waits for an answer any more
            self._confirm_at = time.monotonic() + min(CONFIRM_S, RETRY_S)
            self._unconfirmed.wait_on(time.monotonic())
            self._has_problem = True
            self._reporter.has_problem(error)
            return
        now = time.monotonic()
        self._confirm_at = now + CONFIRM_S
        self._unconfirmed.arrived(iteration, now)
        if self._unconfirmed.are_lost(now):
            raise LostRowsError(
                f"rows up to iteration {self._unconfirmed.last} were sent to W&B, of which those "
                f"after {iteration} have not arrived; they are sent again"
            )
        self._arrived(iteration)

    def _confirmed_in_the_end(self) -> int:
        last = self._rows.last_iteration
        for number in range(_NUM_LAST_QUESTIONS):
            time.sleep(POLL_S if number else 0.0)  # the server may be a moment late
            with section(Section.WANDB):
                arrived = self._service.confirmed(timeout_s=_LAST_TIMEOUT_S)
            if arrived >= last:
                return arrived
        raise LostRowsError(
            f"rows up to iteration {last} were sent to W&B, of which those after {arrived} did "
            "not arrive"
        )

    def _arrived(self, iteration: int) -> None:
        self._has_problem = False
        self._reporter.answers()
        if self._service.is_remote:
            self._reporter.confirmed(iteration)


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
        if not count:
            return
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

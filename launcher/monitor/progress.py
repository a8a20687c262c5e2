"""Show the progress of runs, in a terminal or in a log."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from launcher.monitor.status import RunStatus
from launcher.monitor.status_table import status_table, summary
from trainers.run.run_state import Status

LINE_INTERVAL_S = 10.0
_DISPLAY_ORDER = (
    Status.FAILED,
    Status.UNREADABLE,
    Status.RUNNING,
    Status.WAITING,
    Status.CANCELLED,
    Status.SUBMITTED,
    Status.FINISHED,
    Status.PLANNED,
)
"""Which runs to show first when the screen is too small for all."""


class Progress(ABC):
    """Turns successive statuses of runs into text to print."""

    @abstractmethod
    def text(self, statuses: Sequence[RunStatus], now_s: float) -> str:
        """Return what to print now; empty if nothing.

        Args:
            now_s: A monotonic clock, in seconds.
        """


class LineProgress(Progress):
    """Prints a line when a run changes state, and every 10 s while iterations are done."""

    def __init__(self) -> None:
        self._states: list[Status] = []
        self._line = ""
        self._due_s = 0.0

    def text(self, statuses: Sequence[RunStatus], now_s: float) -> str:
        states, line = [status.state for status in statuses], summary(statuses)
        if states == self._states and (line == self._line or now_s < self._due_s):
            return ""
        self._states, self._line, self._due_s = states, line, now_s + LINE_INTERVAL_S
        return f"{line}\n"


class ScreenProgress(Progress):
    """Redraws a table in place; rows that do not fit on the screen are left out."""

    def __init__(self, *, columns: int, lines: int) -> None:
        self._columns = columns
        self._lines = lines
        self._drawn = 0

    def text(self, statuses: Sequence[RunStatus], now_s: float) -> str:
        num_shown = max(1, self._lines - 4)  # header, summary, the cursor's line
        if len(statuses) > num_shown:
            statuses = sorted(statuses, key=lambda status: _DISPLAY_ORDER.index(status.state))
        rows = [status_table(statuses[:num_shown]), summary(statuses)]
        lines = [line[: self._columns - 1] for line in "\n".join(rows).splitlines()]
        erase = f"\x1b[{self._drawn}A\x1b[J" if self._drawn else ""
        self._drawn = len(lines)
        return erase + "".join(f"{line}\n" for line in lines)

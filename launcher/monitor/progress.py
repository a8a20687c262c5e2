"""Show the progress of runs while somebody waits, on a screen or line by line in a log."""

from __future__ import annotations

from collections.abc import Sequence

from launcher.monitor.status import RunStatus
from launcher.monitor.status_table import DISPLAY_ORDER, status_lines, summary
from launcher.monitor.table_layout import Line
from launcher.tables import cut, printable, show_about
from trainers.run.run_state import Status

LINE_INTERVAL_S = 10.0
_MAX_FAILURES = 20


class LineProgress:
    """Prints a line when a run changes its state, and a summary every 10 s while iterations are
    done.
    """

    def __init__(self) -> None:
        self._seen: dict[str, tuple[Status, int]] | None = None
        self._summary = ""
        self._due_s = 0.0

    def text(self, statuses: Sequence[RunStatus], now_s: float) -> str:
        """Return what to print now; empty if nothing.

        Args:
            now_s: A monotonic clock, in seconds.
        """
        seen = {each.folder: (each.state, sum(each.attempts.values())) for each in statuses}
        several = _are_of_several(statuses)
        lines = [
            run_line(each, with_experiment=several)
            for each in statuses
            if (
                each.state == Status.FAILED
                if self._seen is None
                else self._seen.get(each.folder) != seen[each.folder]
            )
        ]
        is_first, self._seen = self._seen is None, seen
        line = summary(statuses) if len(statuses) != 1 else run_line(statuses[0])
        if is_first or (line != self._summary and now_s >= self._due_s):
            if line not in lines:
                lines.append(line)
            self._summary, self._due_s = line, now_s + LINE_INTERVAL_S
        return "".join(f"{each}\n" for each in lines)

    def end(self, statuses: Sequence[RunStatus]) -> str:
        """Return the last line, once nothing changes any more."""
        return f"{summary(statuses)}\n" if len(statuses) != 1 else ""


def _are_of_several(statuses: Sequence[RunStatus]) -> bool:
    return len({each.experiment for each in statuses}) > 1


def run_line(status: RunStatus, *, with_experiment: bool = False) -> str:
    """Return how far a run is in one line, and why it is not further."""
    parts = [f"{status.state}", f"iteration {status.iteration} of {status.num_iterations or '?'}"]
    if status.loss is not None:
        parts.append(f"loss {status.loss:#.4g}")
    if status.state == Status.RUNNING and status.iterations_per_s:
        parts.append(f"{status.iterations_per_s:#.3g} it/s")
    if status.eta_s is not None:
        parts.append(f"{show_about(status.eta_s)} left")
    reason = status.reason or status.concern
    name = f"{status.experiment}/{status.name}" if with_experiment else status.name
    return printable(f"{name}: {', '.join(parts)}{f': {reason}' if reason else ''}")


def failures(statuses: Sequence[RunStatus]) -> list[str]:
    """Return a line for each run that is over, or waits, without being finished: its reason."""
    ended = [each for each in statuses if each.state != Status.FINISHED and each.reason]
    several = _are_of_several(statuses)
    lines = [run_line(each, with_experiment=several) for each in ended[:_MAX_FAILURES]]
    if left := len(ended) - len(lines):
        lines.append(f"and {left} more: see `launch status --state failed,waiting,cancelled`")
    return lines


def screen_lines(
    statuses: Sequence[RunStatus],
    *,
    columns: int,
    lines: int,
    encoding: str = "utf-8",
    total: Sequence[RunStatus] | None = None,
    is_sorted: bool = False,
) -> list[Line]:
    """Return a table and a summary that fit on a screen; rows that do not are left out.

    Args:
        total: The runs to sum up, if these are not all of them.
        is_sorted: Whether the user has chosen an order; otherwise what asks for attention stays.
    """
    num_shown = max(1, lines - 3)  # header, summary, the cursor's line
    shown = list(statuses)
    if len(shown) > num_shown and not is_sorted:
        shown = sorted(shown, key=lambda status: DISPLAY_ORDER.index(status.state))
    shown = shown[:num_shown]
    table = status_lines(shown, width=columns, encoding=encoding) if shown else []
    last = summary(statuses if total is None else total)
    if left := len(total or statuses) - len(shown):
        last += f"; {left} not shown"
    ellipsis = "…" if printable("…", encoding) == "…" else "..."
    return [*table, Line(text=cut(last, columns, ellipsis=ellipsis))]

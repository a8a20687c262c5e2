"""Report the checkpoints of a run as text and as JSON."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import attrs

from launcher.monitor.checkpoints import CheckpointState, SavedCheckpoint
from launcher.tables import show_seconds, table
from trainers.run.run_folder import RunFolder

_UNITS = ("B", "kB", "MB", "GB", "TB")
_REPORT_EVERY_S = 2.0


def checkpoints_json(
    run: RunFolder, found: Sequence[SavedCheckpoint], *, verified: bool
) -> dict[str, Any]:
    """Return the checkpoints as plain data, for `launch checkpoints --json`."""
    return {
        "name": run.name,
        "folder": str(run.checkpoints),
        "verified": verified,
        "newest_valid": newest_valid(found),
        "checkpoints": [attrs.asdict(each) for each in found],
    }


def checkpoints_text(
    found: Sequence[SavedCheckpoint], *, metric: str, verified: bool, now: float
) -> str:
    """Return a table of the checkpoints, with their total size and the newest valid one.

    Args:
        metric: The name of the metric to show.
        now: Unix time in seconds on the clock of the file system, see
            `trainers.run.lease.file_system_time`.
    """
    if not found:
        return "no checkpoints yet"
    header = ("ITERATION", "SIZE", "AGE", metric.upper(), "STATE")
    total = show_bytes(sum(each.num_bytes for each in found))
    newest = newest_valid(found)
    depth = "every byte was read" if verified else "--verify reads every byte, too"
    return (
        f"{table(header, [_row(each, metric, now) for each in found])}\n"
        f"{total} in all; newest valid one: {'none' if newest is None else newest}; {depth}"
    )


def newest_valid(found: Sequence[SavedCheckpoint]) -> int | None:
    """Return the iteration that the run would resume from; None if no checkpoint is valid."""
    valid = [each.iteration for each in found if each.state == CheckpointState.VALID]
    return max((each for each in valid if each is not None), default=None)


def show_bytes(number: int) -> str:
    """Format a number of bytes in decimal units: `1.95 GB`; 1 kB is 1,000 bytes."""
    value, unit = float(number), _UNITS[0]
    for unit in _UNITS:
        if value < 999.5 or unit == _UNITS[-1]:
            break
        value /= 1000
    return f"{value:.3g} {unit}"


class ReadingProgress:
    """Reports every 2 s how many bytes have been read; call it with (bytes read, total).

    Args:
        report: Receives a line of text.
        now_s: A clock in seconds.
    """

    def __init__(self, report: Callable[[str], None], now_s: Callable[[], float]) -> None:
        self._report = report
        self._now_s = now_s
        self._reported_at_s = now_s()

    def __call__(self, num_bytes: int, total: int) -> None:
        if self._now_s() >= self._reported_at_s + _REPORT_EVERY_S:
            self._reported_at_s = self._now_s()
            self._report(f"{show_bytes(num_bytes)} of {show_bytes(total)} read")


def _row(each: SavedCheckpoint, metric: str, now: float) -> tuple[str, ...]:
    return (
        "" if each.iteration is None else str(each.iteration),
        show_bytes(each.num_bytes),
        show_seconds(max(0.0, now - each.written)),
        f"{each.metrics[metric]:.4g}" if metric in each.metrics else "",
        ": ".join(filter(None, (each.state, each.reason))),
    )

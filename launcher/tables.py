"""What the commands find, as text for people."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from launcher.status import RunStatus
from trainers.run_state import STATUSES

_MAX_REASON = 120


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Columns, aligned to the left."""
    lines = [header, *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def status_table(statuses: Sequence[RunStatus]) -> str:
    """A line per run."""
    several = len({status.experiment for status in statuses}) > 1
    rows = [
        (
            f"{status.experiment}/{status.name}" if several else status.name,
            status.state,
            f"{status.iteration} of {status.num_iterations or '?'}",
            counted(status.attempts),
            textwrap.shorten(status.reason, _MAX_REASON),
        )
        for status in statuses
    ]
    header = ("RUN", "STATE", "ITERATION", "ATTEMPTS", "REASON")
    return table(header, rows)


def summary(statuses: Sequence[RunStatus]) -> str:
    """How many runs are in which state, and how far they have come together."""
    states = Counter(status.state for status in statuses)
    done = sum(status.iteration for status in statuses)
    goal = sum(status.num_iterations for status in statuses)
    noun = "run" if len(statuses) == 1 else "runs"
    in_order = {state: states[state] for state in STATUSES if state in states}
    return f"{len(statuses)} {noun}: {counted(in_order)}; iteration {done} of {goal}"


def counted(numbers: dict[str, int]) -> str:
    """{"crashed": 2} as `2 crashed`."""
    return ", ".join(f"{number} {name}" for name, number in numbers.items())


def short(path: Path | str) -> str:
    """The path as seen from the current folder if it lies below, for reading and copying."""
    here = Path.cwd()
    return str(Path(path).relative_to(here)) if Path(path).is_relative_to(here) else str(path)

"""What the commands find, as text for people."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from launcher.monitor.status import RunStatus
from trainers.run.run_state import STATUSES

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
    """A line per run; with its job, where some run has one."""
    several = len({status.experiment for status in statuses}) > 1
    columns = {
        "RUN": [f"{each.experiment}/{each.name}" if several else each.name for each in statuses],
        "STATE": [each.state for each in statuses],
        "ITERATION": [f"{each.iteration} of {each.num_iterations or '?'}" for each in statuses],
        "ATTEMPTS": [counted(each.attempts) for each in statuses],
        "JOB": [" ".join(filter(None, (each.job_id, each.job_state))) for each in statuses],
        "REASON": [textwrap.shorten(each.reason, _MAX_REASON) for each in statuses],
    }
    if not any(columns["JOB"]):
        del columns["JOB"]
    return table(tuple(columns), zip(*columns.values(), strict=True))


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

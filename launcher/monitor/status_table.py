"""Show the statuses of runs as a table."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Sequence

from launcher.monitor.status import RunStatus
from launcher.tables import counted, table
from trainers.run.run_state import Status

_MAX_REASON = 120


def status_table(statuses: Sequence[RunStatus]) -> str:
    """Return a table with a row per run; the column of jobs only if some run has one."""
    several = len({status.experiment for status in statuses}) > 1
    columns: dict[str, list[str]] = {
        "RUN": [f"{each.experiment}/{each.name}" if several else each.name for each in statuses],
        "STATE": [each.state for each in statuses],
        "ITERATION": [f"{each.iteration} of {each.num_iterations or '?'}" for each in statuses],
        "ATTEMPTS": [counted(each.attempts) for each in statuses],
        "JOB": [" ".join(filter(None, (each.job_id, each.job_state))) for each in statuses],
        "REASON": [textwrap.shorten(each.reason or each.concern, _MAX_REASON) for each in statuses],
    }
    if not any(columns["JOB"]):
        del columns["JOB"]
    return table(tuple(columns), zip(*columns.values(), strict=True))


def summary(statuses: Sequence[RunStatus]) -> str:
    """Return a line with the number of runs in each state, and their iterations in sum."""
    states = Counter(status.state for status in statuses)
    done = sum(status.iteration for status in statuses)
    goal = sum(status.num_iterations for status in statuses)
    noun = "run" if len(statuses) == 1 else "runs"
    in_order = {state: states[state] for state in Status if state in states}
    lacking = sum(status.wandb_lag is not None for status in statuses)
    wandb = f"; W&B lacks rows of {lacking}: launch sync" if lacking else ""
    return f"{len(statuses)} {noun}: {counted(in_order)}; iteration {done} of {goal}{wandb}"

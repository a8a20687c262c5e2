"""Show the statuses of runs as a table: its columns, their order, and what comes first."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

from attrs import frozen

from launcher.monitor.status import RunStatus
from launcher.monitor.table_layout import Column, Line, lay_out
from launcher.tables import counted, show_about
from trainers.run.run_state import Status

DISPLAY_ORDER = (
    Status.FAILED,
    Status.UNREADABLE,
    Status.RUNNING,
    Status.WAITING,
    Status.CANCELLED,
    Status.SUBMITTED,
    Status.FINISHED,
    Status.PLANNED,
)
"""What asks for attention comes first."""
_STATE_STYLES = {
    Status.FAILED: "red",
    Status.UNREADABLE: "red",
    Status.RUNNING: "green",
    Status.WAITING: "yellow",
    Status.CANCELLED: "magenta",
    Status.SUBMITTED: "cyan",
    Status.FINISHED: "blue",
}
_SILENT_S = (60.0, 600.0)
"""After so much silence a run that trains is yellow, and red: it records something every 2 s, or
after each iteration."""


@frozen(kw_only=True)
class _ColumnKind:
    text: Callable[[RunStatus], str]
    key: Callable[[RunStatus], Any]
    """By which `--sort` orders; None comes last."""
    importance: int
    style: Callable[[RunStatus], str] | None = None
    is_right_aligned: bool = False
    min_width: int | None = None
    cuts_middle: bool = False


def _state_style(status: RunStatus) -> str:
    return _STATE_STYLES.get(status.state, "")


def _silence_style(status: RunStatus) -> str:
    silent_s = status.silent_s or 0.0
    if status.state != Status.RUNNING or silent_s < _SILENT_S[0]:
        return ""
    return "yellow" if silent_s < _SILENT_S[1] else "red"


def _reason_style(status: RunStatus) -> str:
    if status.state in (Status.FAILED, Status.UNREADABLE):
        return "red"
    return "yellow" if status.concern and not status.reason else ""


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:#.{digits}g}"  # one width, however it changes


def _best(status: RunStatus) -> str:
    best = status.best
    return f"{_number(best.value, 4)} at {best.iteration}" if best else ""


def _best_with_its_name(status: RunStatus) -> str:
    return f"{status.best.metric} {_best(status)}" if status.best else ""


def _best_key(status: RunStatus) -> float | None:
    best = status.best
    if best is None:
        return None
    return -best.value if best.mode == "max" else best.value


def _rate(status: RunStatus) -> float | None:
    return status.iterations_per_s if status.state == Status.RUNNING else None


def _silence(status: RunStatus) -> str:
    return "" if status.silent_s is None else f"{show_about(status.silent_s)} ago"


def _node(status: RunStatus) -> str:
    return status.node + (f" and {status.num_nodes - 1} more" if status.num_nodes > 1 else "")


def _job(status: RunStatus) -> str:
    return " ".join(filter(None, (status.job_id, status.job_state)))


def _reason(status: RunStatus) -> str:
    return status.reason or status.concern


def _full_name(status: RunStatus) -> str:
    return f"{status.experiment}/{status.name}"


def _minus(value: float | None) -> float | None:
    return None if value is None else -value


_KINDS = {
    "run": _ColumnKind(
        text=lambda each: each.name, key=_full_name, importance=99, min_width=16, cuts_middle=True
    ),
    "state": _ColumnKind(
        text=lambda each: each.state,
        style=_state_style,
        importance=98,
        key=lambda each: DISPLAY_ORDER.index(each.state),
    ),
    "iteration": _ColumnKind(
        text=lambda each: f"{each.iteration} of {each.num_iterations or '?'}",
        key=lambda each: -each.iteration,
        importance=97,
    ),
    "loss": _ColumnKind(
        text=lambda each: _number(each.loss, 4),
        key=lambda each: each.loss,
        importance=90,
        is_right_aligned=True,
    ),
    "best": _ColumnKind(text=_best, key=_best_key, importance=60),
    "it/s": _ColumnKind(
        text=lambda each: _number(_rate(each), 3),
        key=lambda each: _minus(_rate(each)),
        importance=50,
        is_right_aligned=True,
    ),
    "eta": _ColumnKind(
        text=lambda each: "" if each.eta_s is None else show_about(each.eta_s),
        key=lambda each: each.eta_s,
        importance=80,
        is_right_aligned=True,
    ),
    "seen": _ColumnKind(
        text=_silence,
        key=lambda each: _minus(each.silent_s),
        importance=70,
        style=_silence_style,
        is_right_aligned=True,
    ),
    "node": _ColumnKind(text=_node, key=lambda each: each.node or None, importance=30),
    "attempts": _ColumnKind(
        text=lambda each: counted(each.attempts),
        importance=40,
        min_width=12,
        key=lambda each: -sum(each.attempts.values()),
    ),
    "job": _ColumnKind(text=_job, key=lambda each: each.job_id, importance=20),
    "reason": _ColumnKind(
        text=_reason,
        key=lambda each: _reason(each) or None,
        importance=85,
        style=_reason_style,
        min_width=24,
    ),
}
"""By the names that `--sort` takes."""
COLUMNS = tuple(_KINDS)


def status_columns(statuses: Sequence[RunStatus]) -> list[Column]:
    """Return the columns of a table with a row per run."""
    texts = {name: kind.text for name, kind in _KINDS.items()}
    headers = {name: name.upper() for name in _KINDS}
    if len({status.experiment for status in statuses}) > 1:
        texts["run"] = _full_name
    metrics = {status.best.metric for status in statuses if status.best}
    if len(metrics) == 1:
        headers["best"] = f"BEST {metrics.pop().upper()}"
    else:
        texts["best"] = _best_with_its_name
    return [
        Column(
            header=headers[name],
            cells=list(map(texts[name], statuses)),
            styles=[kind.style(each) for each in statuses] if kind.style else (),
            importance=kind.importance,
            is_right_aligned=kind.is_right_aligned,
            min_width=kind.min_width,
            cuts_middle=kind.cuts_middle,
        )
        for name, kind in _KINDS.items()
    ]


def status_lines(
    statuses: Sequence[RunStatus], *, width: int | None = None, encoding: str = "utf-8"
) -> list[Line]:
    """Return the lines of a table with a row per run; see `lay_out`."""
    return lay_out(status_columns(statuses), width=width, encoding=encoding)


def status_table(statuses: Sequence[RunStatus]) -> str:
    """Return the table as plain text, with nothing left out."""
    return "\n".join(line.text for line in status_lines(statuses))


def select(
    statuses: Iterable[RunStatus],
    *,
    states: Collection[str] = (),
    sort: str | None = None,
) -> list[RunStatus]:
    """Return the runs in some states, in the order of a column.

    Names and states are in ascending order, with failures first. Of figures, what one looks for
    comes first: the lowest loss, the best metric, the highest rate, the nearest end, the longest
    silence, the most iterations and attempts. Runs without a value come last.

    Args:
        states: All if empty.
        sort: The name of a column; None leaves the order as it is.
    """
    chosen = [status for status in statuses if not states or status.state in states]
    if sort is None:
        return chosen
    key = _KINDS[sort].key

    def place(status: RunStatus) -> tuple[bool, Any]:
        value = key(status)
        is_missing = value is None or (isinstance(value, float) and math.isnan(value))
        return is_missing, 0 if is_missing else value

    return sorted(chosen, key=place)


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

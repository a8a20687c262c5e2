"""Report an explanation as text and as JSON."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from launcher.explain.explanation import Budget, Explanation
from launcher.monitor.run_warnings import (
    NondeterminismWarning,
    NonFiniteWarning,
    RunWarnings,
    Unsaved,
)
from launcher.monitor.wandb_lag import WandbLag
from launcher.tables import short, show_seconds, table
from trainers.run.attempt_history import Attempt

_NUM_EVENTS = 10
_NUM_CHECKPOINTS = 3
_JSON_KEYS = {
    "queue_position": "place",
    "warnings": "remarks",
    "nondeterminism": "doubts",
    "initial_weights": "first_weights",
}
"""Keys of the JSON that differ from the names of attributes: programs read them, so they stay."""


def explanation_json(found: Explanation) -> dict[str, Any]:
    """Return the explanation as plain data, with the fields of the status at the top level."""
    data = _with_json_keys(attrs.asdict(found))
    data["remarks"] = _with_json_keys(data["remarks"])
    status = data.pop("status")
    for attempt, plain in zip(found.attempts, data["attempts"], strict=True):
        plain |= {"gained": attempt.gained, "lost": attempt.lost}
    return {**status, **data}


def explanation_text(found: Explanation, now: float) -> str:
    """Return why and what to do first, then everything that it was derived from.

    Args:
        now: Unix time in seconds.
    """
    return "\n".join(_lines(found, now))


def _with_json_keys(data: Mapping[str, Any]) -> dict[str, Any]:
    return {_JSON_KEYS.get(name, name): value for name, value in data.items()}


def _wandb_line(lag: WandbLag) -> str:
    has = f"it has rows up to iteration {lag.after}" if lag.after >= 0 else "it has no rows yet"
    why = f" ({lag.problem})" if lag.problem else ""
    return f"{has} of {lag.last}{why}; `launch sync` sends the others"


def _lines(found: Explanation, now: float) -> Iterator[str]:
    status = found.status
    done = f"iteration {status.iteration} of {status.num_iterations or '?'}"
    yield f"{status.experiment}/{status.name}: {status.state}, {done}"
    yield from _labelled("why", found.why)
    if status.concern:
        yield from _labelled("but", status.concern)
    if status.wandb_lag:
        yield from _labelled("W&B", _wandb_line(status.wandb_lag))
    for advice in found.advice or ("nothing",):
        yield from _labelled("to do", advice)
    yield from _queue_lines(found)
    if found.limits:
        yield from _labelled("a job has", "\n".join(f"at most {each}" for each in found.limits))
    if found.attempts:
        yield ""
        yield _attempt_table(found.attempts, now)
    if found.budgets:
        yield ""
        used = [_budget(budget) for budget in found.budgets if budget.used]
        yield from _labelled("started again", ", ".join(used) or "not yet")
    yield from _warning_lines(found.warnings)
    yield from _labelled("saved", _saved(found))
    if found.damaged:
        yield from _labelled("damaged", "\n".join(_damaged_lines(found)))
    if found.bad_nodes:
        yield from _labelled("bad nodes", f"{', '.join(found.bad_nodes)}: see launch nodes")
    if found.job_events:
        yield from _labelled("its job", "\n".join(_event_lines(found)))
    if found.job_log:
        yield from _labelled("job log", short(found.job_log))
    for line in found.job_lines:
        yield f"    {line}"
    if found.log:
        yield from _labelled("log", short(found.log))
    for line in found.last_lines:
        yield f"    {line}"
    if found.untold:
        yield from _labelled("not told", "\n".join(found.untold))
    if found.unreadable:
        yield from _labelled("not read", "\n".join(found.unreadable))


def _labelled(label: str, text: str) -> Iterator[str]:
    first, *rest = text.splitlines() or [""]
    yield f"{f'{label}:':15}{first}".rstrip()
    for line in rest:
        yield f"{'':15}{line}"


def _queue_lines(found: Explanation) -> Iterator[str]:
    position = found.queue_position
    if position is None:
        return
    parts = [f"{position.job} {position.state}"]
    if position.nodes:
        parts.append(f"on {', '.join(position.nodes)}")
    if position.start_estimate is not None:
        verb = "expected to start" if position.pending else "since"
        parts.append(f"{verb} {_moment(position.start_estimate)}")
    if position.time_left_s is not None and not position.pending:
        parts.append(f"{show_seconds(position.time_left_s)} left")
    yield from _labelled("job", ", ".join(parts))


def _attempt_table(attempts: tuple[Attempt, ...], now: float) -> str:
    header = ("ATTEMPT", "BEGAN", "TOOK", "ITERATIONS", "LOST", "NODE", "GPUS", "ENDED BY")
    return table(header, [_attempt_row(attempt, now) for attempt in attempts])


def _attempt_row(attempt: Attempt, now: float) -> tuple[str, ...]:
    began, ended = attempt.began, attempt.ended
    took = "" if began is None else show_seconds(max(0.0, (ended or now) - began))
    reason = attempt.reason.partition("\n")[0]
    return (
        str(attempt.number),
        _moment(began) if began is not None else "",
        took if ended is not None else took and f"{took} …",
        "" if attempt.gained is None else f"{attempt.first_iteration} + {attempt.gained}",
        str(attempt.lost or ""),
        attempt.node or "",
        " ".join(",".join(gpus) for gpus in attempt.gpus),
        reason if reason.startswith(attempt.cause or " ") else _joined(attempt.cause, reason),
    )


def _joined(cause: str | None, reason: str) -> str:
    return ": ".join(filter(None, (cause or "-", reason)))


def _budget(budget: Budget) -> str:
    allowed = "any" if budget.allowed is None else budget.allowed
    return f"{budget.cause} {budget.used} of {allowed}"


def _saved(found: Explanation) -> str:
    if not found.checkpoints:
        return "nothing yet"
    names = found.checkpoints[-_NUM_CHECKPOINTS:]
    more = len(found.checkpoints) - len(names)
    counted = f"{', '.join(names)}{f', and {more} before' if more else ''}"
    return f"{counted}; {found.lost_iterations} iterations lost at stops"


def _warning_lines(warnings: RunWarnings) -> Iterator[str]:
    if warnings.initial_weights:
        yield from _labelled("initialized", warnings.initial_weights.text)
    if warnings.nondeterminism:
        yield from _labelled(
            "reproducible", "no: " + "\n".join(map(_nondeterminism, warnings.nondeterminism))
        )
    if warnings.non_finite:
        yield from _labelled("not finite", _non_finite(warnings.non_finite))
    yield from _unsaved_lines("not saved", warnings.failed_saves)
    yield from _unsaved_lines("skipped", warnings.skipped_saves)


def _unsaved_lines(label: str, saves: Unsaved) -> Iterator[str]:
    if saves.count:
        newest = "the newest at" if saves.count > 1 else "at"
        text = f"{_times(saves.count)}, {newest} iteration {saves.iteration}"
        yield from _labelled(label, f"{text}: {saves.reason}")


def _non_finite(warning: NonFiniteWarning) -> str:
    return f"steps not taken: {len(warning.iterations)}; the newest: {warning.reason}"


def _nondeterminism(warning: NondeterminismWarning) -> str:
    often = f", and {_times(warning.count - 1)} before" if warning.count > 1 else ""
    return f"{warning.reason} ({_moment(warning.time)}{often})"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _damaged_lines(found: Explanation) -> Iterator[str]:
    for name in found.damaged:
        reason = found.warnings.damaged.get(name)
        yield f"{name}: {reason}" if reason else name


def _event_lines(found: Explanation) -> Iterator[str]:
    for event in found.job_events[-_NUM_EVENTS:]:
        details = [f"{key} {value}" for key, value in event.items() if key not in ("time", "event")]
        yield f"{_moment(event.get('time', 0))}  {event['event']}  {', '.join(details)}".rstrip()


def _moment(unix_time: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(unix_time))

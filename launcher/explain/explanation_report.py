"""An explanation, for people and for programs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import attrs

from launcher.explain.attempt_history import Attempt
from launcher.explain.explanation import Budget, Explanation
from launcher.monitor.run_warnings import Doubt, RunWarnings, Unsaved
from launcher.tables import short, show_seconds, table

_NUM_EVENTS = 10
_NUM_CHECKPOINTS = 3


def explanation_json(found: Explanation) -> dict[str, Any]:
    """As plain data; what the status has stands at the top."""
    data = attrs.asdict(found)
    status = data.pop("status")
    for attempt, plain in zip(found.attempts, data["attempts"], strict=True):
        plain |= {"gained": attempt.gained, "lost": attempt.lost}
    return {**status, **data}


def explanation_text(found: Explanation, now: float) -> str:
    """Why and what to do first, then all that it was told from.

    Args:
        now: Unix time in seconds.
    """
    return "\n".join(_lines(found, now))


def _lines(found: Explanation, now: float) -> Iterator[str]:
    status = found.status
    done = f"iteration {status.iteration} of {status.num_iterations or '?'}"
    yield f"{status.experiment}/{status.name}: {status.state}, {done}"
    yield from _labelled("why", found.why)
    for advice in found.advice or ("nothing",):
        yield from _labelled("to do", advice)
    yield from _place_lines(found)
    if found.attempts:
        yield ""
        yield _attempt_table(found.attempts, now)
    if found.budgets:
        yield ""
        yield from _labelled("started again", ", ".join(map(_budget, found.budgets)))
    yield from _remark_lines(found.remarks)
    yield from _labelled("saved", _saved(found))
    if found.damaged:
        yield from _labelled("damaged", "\n".join(_damaged(found)))
    if found.job_events:
        yield from _labelled("its job", "\n".join(_event_lines(found)))
    if found.log:
        yield from _labelled("log", short(found.log))
    for line in found.last_lines:
        yield f"    {line}"


def _labelled(label: str, text: str) -> Iterator[str]:
    first, *rest = text.splitlines() or [""]
    yield f"{f'{label}:':15}{first}".rstrip()
    for line in rest:
        yield f"{'':15}{line}"


def _place_lines(found: Explanation) -> Iterator[str]:
    place = found.place
    if place is None:
        return
    words = [f"{place.job} {place.state}"]
    if place.nodes:
        words.append(f"on {', '.join(place.nodes)}")
    if place.start_estimate is not None:
        verb = "expected to start" if place.pending else "since"
        words.append(f"{verb} {_moment(place.start_estimate)}")
    if place.time_left_s is not None and not place.pending:
        words.append(f"{show_seconds(place.time_left_s)} left")
    yield from _labelled("job", ", ".join(words))


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


def _remark_lines(remarks: RunWarnings) -> Iterator[str]:
    if remarks.first_weights:
        yield from _labelled("first weights", remarks.first_weights.text)
    if remarks.doubts:
        yield from _labelled("not exact", "\n".join(map(_doubt, remarks.doubts)))
    yield from _unsaved_lines("not saved", remarks.failed_saves)
    yield from _unsaved_lines("skipped", remarks.skipped_saves)


def _unsaved_lines(label: str, saves: Unsaved) -> Iterator[str]:
    if saves.count:
        newest = "the newest at" if saves.count > 1 else "at"
        words = f"{_times(saves.count)}, {newest} iteration {saves.iteration}"
        yield from _labelled(label, f"{words}: {saves.reason}")


def _doubt(doubt: Doubt) -> str:
    often = f", and {_times(doubt.count - 1)} before" if doubt.count > 1 else ""
    return f"{doubt.reason} ({_moment(doubt.time)}{often})"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _damaged(found: Explanation) -> Iterator[str]:
    for name in found.damaged:
        reason = found.remarks.damaged.get(name)
        yield f"{name}: {reason}" if reason else name


def _event_lines(found: Explanation) -> Iterator[str]:
    for event in found.job_events[-_NUM_EVENTS:]:
        details = [f"{key} {value}" for key, value in event.items() if key not in ("time", "event")]
        yield f"{_moment(event.get('time', 0))}  {event['event']}  {', '.join(details)}".rstrip()


def _moment(unix_time: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(unix_time))

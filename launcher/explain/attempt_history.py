"""The attempts at a run, as its events tell of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import attrs
from attrs import frozen

from trainers.run.run_state import EventKind


@frozen(kw_only=True)
class Attempt:
    """One start of a run."""

    number: int
    """As in the names of its logs; an attempt that nobody counted leaves its number to the next."""
    began: float | None = None
    """Unix time in seconds, as the next one."""
    ended: float | None = None
    """None while it goes on, or if nobody lived to tell."""
    cause: str | None = None
    """A `Cause`, or one of a later version; None while it goes on, or if nobody counted it."""
    reason: str = ""
    first_iteration: int | None = None
    """That it began with; None if it never got so far."""
    iteration: int | None = None
    """Iterations that were done at its end, or in its last checkpoint so far."""
    saved: int | None = None
    """Iterations in its last checkpoint, or in the one that it began with."""
    job: str | None = None
    node: str | None = None
    gpus: tuple[tuple[str, ...], ...] = ()
    """Of each rank on the first node."""
    logs: tuple[str, ...] = ()

    @property
    def gained(self) -> int | None:
        """Iterations that it added to what was saved."""
        if self.saved is None or self.first_iteration is None:
            return None
        return self.saved - self.first_iteration

    @property
    def lost(self) -> int | None:
        """Iterations that were done, and have to be done again; as far as was told."""
        if self.cause is None or self.saved is None or self.iteration is None:
            return None
        return max(0, self.iteration - self.saved)


def attempt_history(events: Iterable[Mapping[str, Any]]) -> list[Attempt]:
    """The attempts, oldest first.

    Args:
        events: The lines of a run's `events.jsonl`, in their order.
    """
    past: list[Attempt] = []
    current: Attempt | None = None
    for event in events:
        kind = event["event"]
        if kind == EventKind.LAUNCHED or (kind == EventKind.ATTEMPT and current is None):
            if current:
                past.append(current)
            current = _begun(event, len(past))
        elif kind == EventKind.ENDED:
            past.append(_ended(current or Attempt(number=event.get("attempt", len(past))), event))
            current = None
        elif current:
            current = _gone_on(current, kind, event)
    return [*past, current] if current else past


def _begun(event: Mapping[str, Any], count: int) -> Attempt:
    return Attempt(
        number=event.get("attempt", count),
        began=event.get("time"),
        job=event.get("job"),
        node=event.get("node"),
        gpus=tuple(map(tuple, event.get("gpus", ()))),
        logs=tuple(map(str, event.get("logs", ()))),
    )


def _gone_on(attempt: Attempt, kind: str, event: Mapping[str, Any]) -> Attempt:
    iteration = event.get("iteration")
    if kind in (EventKind.STARTED, EventKind.RESTORED):
        return attrs.evolve(
            attempt, first_iteration=iteration, iteration=iteration, saved=iteration
        )
    if kind == EventKind.CHECKPOINT:
        return attrs.evolve(attempt, iteration=iteration, saved=iteration)
    return attempt


def _ended(attempt: Attempt, event: Mapping[str, Any]) -> Attempt:
    return attrs.evolve(
        attempt,
        ended=event.get("time"),
        cause=event.get("cause"),
        reason=event.get("reason", ""),
        iteration=event.get("iteration", attempt.iteration),
        saved=event.get("saved", attempt.saved),
    )

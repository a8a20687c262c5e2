"""The attempts at a run so far, from its events. Light: the launcher shows them too."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs
from attrs import frozen

from trainers.run.run_state import EventKind


@frozen(kw_only=True)
class Attempt:
    """One attempt at a run."""

    number: int
    """As in the names of its logs; the attempt after one that was never counted has the same."""
    began: float | None = None
    """Unix time in seconds, like `ended`."""
    ended: float | None = None
    """None while it is running, or if its end was never recorded."""
    cause: str | None = None
    """A `Cause`, or one of a later version; None while it is running, or if never counted."""
    reason: str = ""
    first_iteration: int | None = None
    """The iteration it started from; None if it exited before its first one."""
    iteration: int | None = None
    """The iterations done when it ended, or at its last checkpoint so far."""
    saved: int | None = None
    """The iterations in its last checkpoint, or in the one that it resumed from."""
    job: str | None = None
    node: str | None = None
    gpus: tuple[tuple[str, ...], ...] = ()
    """The GPUs of each rank on the first node."""
    gpu_model: str | None = None
    """Of the GPU of rank 0; empty if it used none, None before it has said so."""
    logs: tuple[str, ...] = ()

    @property
    def gained(self) -> int | None:
        """The iterations that it added to the newest checkpoint; None if not known."""
        if self.saved is None or self.first_iteration is None:
            return None
        return self.saved - self.first_iteration

    @property
    def lost(self) -> int | None:
        """The iterations that were done but not saved, and are repeated; None if not known."""
        if self.cause is None or self.saved is None or self.iteration is None:
            return None
        return max(0, self.iteration - self.saved)


def read_events(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the complete lines of an `events.jsonl`, oldest first; none if the file is missing."""
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        return
    for line in lines:
        try:
            event = json.loads(line)
        except ValueError:  # half a line, written by a process that was killed
            continue
        if isinstance(event, dict) and "event" in event:
            yield event


def attempt_history(events: Iterable[Mapping[str, Any]]) -> list[Attempt]:
    """Return the attempts, oldest first.

    Args:
        events: The lines of the run's `events.jsonl`, oldest first.
    """
    past: list[Attempt] = []
    current: Attempt | None = None
    for event in events:
        kind = event["event"]
        # A debugged run has no supervisor, and so no `launched` event.
        if kind == EventKind.LAUNCHED or (kind == EventKind.ATTEMPT and current is None):
            if current:
                past.append(current)
            current = _started(event, len(past))
        elif kind == EventKind.ENDED:
            past.append(_ended(current or Attempt(number=event.get("attempt", len(past))), event))
            current = None
        elif current:
            current = _updated(current, kind, event)
    return [*past, current] if current else past


def _started(event: Mapping[str, Any], count: int) -> Attempt:
    return Attempt(
        number=event.get("attempt", count),
        began=event.get("time"),
        job=event.get("job"),
        node=event.get("node"),
        gpus=tuple(map(tuple, event.get("gpus") or ())),
        logs=tuple(map(str, event.get("logs") or ())),
    )


def _updated(attempt: Attempt, kind: str, event: Mapping[str, Any]) -> Attempt:
    iteration = event.get("iteration")
    if kind in (EventKind.STARTED, EventKind.RESTORED):
        return attrs.evolve(
            attempt, first_iteration=iteration, iteration=iteration, saved=iteration
        )
    if kind == EventKind.CHECKPOINT:
        return attrs.evolve(attempt, iteration=iteration, saved=iteration)
    if kind == EventKind.ENVIRONMENT:
        node = attempt.node or event.get("node")
        return attrs.evolve(attempt, node=node, gpu_model=event.get("gpu", ""))
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

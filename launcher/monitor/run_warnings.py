"""Warnings about a run, from its events: damaged checkpoints, failed saves, non-finite steps,
nondeterminism.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from attrs import field, frozen

from trainers.run.run_state import EventKind
from trainers.weights.weights_report import WeightsReport


@frozen(kw_only=True)
class Unsaved:
    """Saves that failed, or saves that were skipped."""

    count: int = 0
    iteration: int = 0
    """Of the newest one, like `reason`."""
    reason: str = ""

    def more(self, event: Mapping[str, Any], reason: str) -> Unsaved:
        """Return these saves and one more, after them."""
        return Unsaved(count=self.count + 1, iteration=event.get("iteration", 0), reason=reason)


@frozen(kw_only=True)
class NondeterminismWarning:
    """Why the run is not reproducible: not bit for bit what it would be without its stops."""

    reason: str
    time: float
    """Unix time in seconds of the last attempt that logged it."""
    count: int
    """The number of attempts that logged it."""


@frozen(kw_only=True)
class NonFiniteWarning:
    """Iterations with a NaN or an infinity, whose optimizer step was not taken."""

    iterations: tuple[int, ...]
    reason: str
    """What was not finite in the newest one, and in which samples."""


@frozen(kw_only=True)
class RunWarnings:
    """The warnings about a run, and the report of its initial weights."""

    damaged: Mapping[str, str] = field(factory=dict)
    """Why checkpoints were set aside, by the names that they have now."""
    failed_saves: Unsaved = field(factory=Unsaved)
    skipped_saves: Unsaved = field(factory=Unsaved)
    non_finite: NonFiniteWarning | None = None
    nondeterminism: tuple[NondeterminismWarning, ...] = ()
    initial_weights: WeightsReport | None = None


def run_warnings(events: Iterable[Mapping[str, Any]]) -> RunWarnings:
    """Return the warnings in the events of a run.

    Args:
        events: The lines of the run's `events.jsonl`, oldest first.
    """
    damaged: dict[str, str] = {}
    failed, skipped = Unsaved(), Unsaved()
    non_finite: dict[int, str] = {}  # a resumed run meets some of them again
    nondeterminism: dict[str, NondeterminismWarning] = {}
    initial_weights: WeightsReport | None = None
    for event in events:
        kind, reason = event["event"], str(event.get("reason", ""))
        if kind == EventKind.CHECKPOINT_DAMAGED:
            damaged[str(event.get("aside"))] = reason
        elif kind == EventKind.CHECKPOINT_FAILED:
            failed = failed.more(event, reason)
        elif kind == EventKind.CHECKPOINT_SKIPPED:
            skipped = skipped.more(event, "an earlier one was still being written")
        elif kind == EventKind.NOT_REPRODUCIBLE:
            count = nondeterminism.pop(reason).count + 1 if reason in nondeterminism else 1
            nondeterminism[reason] = NondeterminismWarning(
                reason=reason, time=event.get("time", 0.0), count=count
            )
        elif kind == EventKind.NON_FINITE:
            non_finite.setdefault(int(event.get("iteration", 0)), reason)
        elif kind == EventKind.INITIALIZED:
            initial_weights = WeightsReport.from_event(event)
    return RunWarnings(
        damaged=damaged,
        failed_saves=failed,
        skipped_saves=skipped,
        non_finite=(
            NonFiniteWarning(iterations=(*non_finite,), reason=[*non_finite.values()][-1])
            if non_finite
            else None
        ),
        nondeterminism=tuple(nondeterminism.values()),
        initial_weights=initial_weights,
    )

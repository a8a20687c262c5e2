"""What a run's events tell of its weights and its exactness, beside the history of attempts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from attrs import field, frozen

from trainers.run.run_state import EventKind
from trainers.weights.weights_report import WeightsReport


@frozen(kw_only=True)
class Unsaved:
    """Saves that came to nothing in one way."""

    count: int = 0
    iteration: int = 0
    """Of the newest one, as the reason."""
    reason: str = ""

    def more(self, event: Mapping[str, Any], reason: str) -> Unsaved:
        """With one that came to nothing after these."""
        return Unsaved(count=self.count + 1, iteration=event.get("iteration", 0), reason=reason)


@frozen(kw_only=True)
class Doubt:
    """Why the run is not, bit for bit, what it would be without its stops."""

    reason: str
    time: float
    """When it was noticed last, Unix time in seconds."""
    count: int
    """Attempts that noticed it."""


@frozen(kw_only=True)
class RunWarnings:
    """What there is to remark on."""

    damaged: Mapping[str, str] = field(factory=dict)
    """What is wrong with checkpoints that were set aside, by the names that they have now."""
    failed_saves: Unsaved = field(factory=Unsaved)
    skipped_saves: Unsaved = field(factory=Unsaved)
    doubts: tuple[Doubt, ...] = ()
    first_weights: WeightsReport | None = None


def run_warnings(events: Iterable[Mapping[str, Any]]) -> RunWarnings:
    """What the events have to say.

    Args:
        events: The lines of a run's `events.jsonl`, in their order.
    """
    damaged: dict[str, str] = {}
    failed, skipped = Unsaved(), Unsaved()
    doubts: dict[str, Doubt] = {}
    first_weights: WeightsReport | None = None
    for event in events:
        kind, reason = event["event"], str(event.get("reason", ""))
        if kind == EventKind.CHECKPOINT_DAMAGED:
            damaged[str(event.get("aside"))] = reason
        elif kind == EventKind.CHECKPOINT_FAILED:
            failed = failed.more(event, reason)
        elif kind == EventKind.CHECKPOINT_SKIPPED:
            skipped = skipped.more(event, "an earlier one was still being written")
        elif kind == EventKind.NOT_REPRODUCIBLE:
            count = doubts.pop(reason).count + 1 if reason in doubts else 1
            doubts[reason] = Doubt(reason=reason, time=event.get("time", 0.0), count=count)
        elif kind == EventKind.INITIALIZED:
            first_weights = WeightsReport.from_event(event)
    return RunWarnings(
        damaged=damaged,
        failed_saves=failed,
        skipped_saves=skipped,
        doubts=tuple(doubts.values()),
        first_weights=first_weights,
    )

"""Which checkpoints may go."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, get_args

from attrs import field, frozen
from attrs.validators import ge, in_, min_len, optional

BestMode = Literal["min", "max"]


@frozen(kw_only=True)
class KeepBest:
    """What makes a checkpoint the best one."""

    metric: str = field(validator=min_len(1))
    """A scalar of the metrics; of a checkpoint counts the mean since the one before."""
    mode: BestMode = field(default="min", validator=in_(get_args(BestMode)))


@frozen(kw_only=True)
class Retention:
    """Which checkpoints stay, each of the three on its own."""

    keep_last: int = field(default=2, validator=ge(1))
    """That many of the newest ones."""
    keep_every: int | None = field(default=None, validator=optional(ge(1)))
    """Those of iterations that are multiples of it."""
    keep_best: KeepBest | None = None
    """The one that is the best by some metric."""


KEEP_TWO = Retention()
"""The second one is there in case the newest turns out to be damaged."""


@frozen(kw_only=True)
class SavedCheckpoint:
    """What is known of a checkpoint on disk."""

    iteration: int
    is_validated: bool
    """Known to be whole, because this process has written or read it."""
    metric: float | None = None
    """The metric of `keep_best`; None if it is unknown or not finite."""


def best_of(saved: Iterable[SavedCheckpoint], keep_best: KeepBest | None) -> int | None:
    """The iteration of the best checkpoint, of equal ones the newest; None if there is none."""
    if keep_best is None:
        return None
    sign = 1 if keep_best.mode == "max" else -1
    known = [(sign * each.metric, each.iteration) for each in saved if each.metric is not None]
    return max(known)[1] if known else None


def iterations_to_delete(saved: Iterable[SavedCheckpoint], retention: Retention) -> list[int]:
    """Iterations whose checkpoints may go, oldest first.

    Only what is older than the `keep_last` newest validated ones goes; without as many, nothing
    does.
    """
    saved = list(saved)
    validated = [each for each in saved if each.is_validated]
    newest = sorted(each.iteration for each in validated)[-retention.keep_last :]
    if len(newest) < retention.keep_last:
        return []
    every, best = retention.keep_every, best_of(validated, retention.keep_best)
    return sorted(
        each.iteration
        for each in saved
        if each.iteration < newest[0]
        and each.iteration != best
        and not (every and each.iteration % every == 0)
    )

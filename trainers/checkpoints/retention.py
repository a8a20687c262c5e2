"""Decide which checkpoints to delete. Pure: touches no disk."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, get_args

from attrs import field, frozen
from attrs.validators import ge, in_, min_len, optional

from trainers.run.run_figures import BestMetric

BestMode = Literal["min", "max"]


@frozen(kw_only=True)
class KeepBest:
    """The metric by which one checkpoint is the best."""

    metric: str = field(validator=min_len(1))
    """Name of a metric; a checkpoint has its mean since the previous checkpoint."""
    mode: BestMode = field(default="min", validator=in_(get_args(BestMode)))
    """Whether a lower or a higher value is better."""


@frozen(kw_only=True)
class Retention:
    """The rules of which checkpoints to keep; each of the three keeps some."""

    keep_last: int = field(default=2, validator=ge(1))
    """The newest checkpoints to keep."""
    keep_every: int | None = field(default=None, validator=optional(ge(1)))
    """Keep iterations that are multiples of this; None: no such rule."""
    keep_best: KeepBest | None = None
    """Keep the one that is best by a metric; None: no such rule."""


KEEP_TWO = Retention()
"""Two, since the newest may turn out to be damaged."""


@frozen(kw_only=True)
class SavedCheckpoint:
    """A checkpoint on disk, and what is known about it."""

    iteration: int
    is_validated: bool
    """Known to be valid, because this process has written or verified it."""
    metric: float | None = None
    """The metric of `keep_best`; None if it is unknown or not finite."""
    is_finite: bool = True
    """Whether its weights are."""
    verified_iteration: int | None = None
    """See `Manifest.verified_iteration`."""


def best_of(saved: Iterable[SavedCheckpoint], keep_best: KeepBest | None) -> int | None:
    """Return the iteration of the best checkpoint, the newest of equals; None if there is none."""
    if keep_best is None:
        return None
    sign = 1 if keep_best.mode == "max" else -1
    known = [
        (sign * each.metric, each.iteration)
        for each in saved
        if each.metric is not None and each.is_finite
    ]
    return max(known)[1] if known else None


def best_metric(saved: Iterable[SavedCheckpoint], keep_best: KeepBest | None) -> BestMetric | None:
    """Return the metric of the best checkpoint; None if there is none, or no such rule."""
    saved = list(saved)
    best = best_of(saved, keep_best)
    if keep_best is None or best is None:
        return None
    (value,) = (each.metric for each in saved if each.iteration == best)
    assert value is not None
    return BestMetric(metric=keep_best.metric, mode=keep_best.mode, value=value, iteration=best)


def iterations_to_delete(saved: Iterable[SavedCheckpoint], retention: Retention) -> list[int]:
    """Return the iterations whose checkpoints to delete, oldest first.

    Only those older than the `keep_last` newest *validated* ones are deleted, so that a good
    checkpoint never gives way to a damaged one; with fewer validated ones, nothing is deleted.
    Those with weights that are not finite count as nothing, and only the newest of them stays.
    With `verify_every`, the newest one from before the last verified iteration stays too: the run
    goes back to it if the next verification fails.
    """
    saved = sorted(saved, key=lambda each: each.iteration)
    finite = [each for each in saved if each.is_finite]
    spoiled = [each.iteration for each in saved if not each.is_finite][:-1]
    validated = [each for each in finite if each.is_validated]
    newest = [each.iteration for each in validated][-retention.keep_last :]
    if len(newest) < retention.keep_last:
        return spoiled
    every = retention.keep_every
    kept = {best_of(validated, retention.keep_best), _newest_verified(validated)}
    old = [
        each.iteration
        for each in finite
        if each.iteration < newest[0]
        and each.iteration not in kept
        and not (every and each.iteration % every == 0)
    ]
    return sorted(old + spoiled)


def _newest_verified(saved: Iterable[SavedCheckpoint]) -> int | None:
    """Return the newest checkpoint up to the last verified iteration; None without one."""
    saved = list(saved)
    verified = max((each.verified_iteration or 0 for each in saved), default=0)
    return max((each.iteration for each in saved if each.iteration <= verified), default=None)

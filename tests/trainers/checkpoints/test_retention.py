"""Which checkpoints may go."""

from __future__ import annotations

import pytest

from trainers.checkpoints.retention import (
    BestMode,
    KeepBest,
    Retention,
    SavedCheckpoint,
    best_of,
    iterations_to_delete,
)


@pytest.mark.parametrize(
    ("saved", "validated", "keep_last", "gone"),
    [
        ([], [], 1, []),
        ([10], [10], 1, []),
        ([10, 20, 30], [10, 20, 30], 2, [10]),
        ([30, 10, 20], [20, 30, 10], 1, [10, 20]),
        ([10, 20, 30], [30], 2, []),
        ([10, 20, 30], [20, 30], 2, [10]),
        ([10, 20, 30, 40], [20, 40], 2, [10]),
        ([10, 20, 30], [10, 20], 2, []),
    ],
)
def test_only_what_is_older_than_enough_whole_ones_goes(
    saved: list[int], validated: list[int], keep_last: int, gone: list[int]
) -> None:
    """A checkpoint that was never validated does not count as one that is kept."""
    checkpoints = [SavedCheckpoint(iteration=i, is_validated=i in validated) for i in saved]

    assert iterations_to_delete(checkpoints, Retention(keep_last=keep_last)) == gone


def whole(**metrics: float | None) -> list[SavedCheckpoint]:
    """Validated checkpoints, by name of iteration."""
    return [
        SavedCheckpoint(iteration=int(name[1:]), is_validated=True, metric=metric)
        for name, metric in metrics.items()
    ]


def test_round_ones_stay() -> None:
    """Multiples of keep_every stay for good."""
    saved = whole(i10=None, i20=None, i30=None, i40=None, i50=None)

    assert iterations_to_delete(saved, Retention(keep_last=1, keep_every=20)) == [10, 30]


@pytest.mark.parametrize(("mode", "gone"), [("min", [10, 30, 40]), ("max", [10, 20, 40])])
def test_the_best_one_stays(mode: BestMode, gone: list[int]) -> None:
    """The best by the metric stays beside the last ones; one without a metric never is."""
    saved = whole(i10=None, i20=1.0, i30=3.0, i40=2.0, i50=2.5)
    keep_best = KeepBest(metric="loss", mode=mode)

    assert iterations_to_delete(saved, Retention(keep_last=1, keep_best=keep_best)) == gone


def test_only_a_whole_one_is_kept_as_the_best() -> None:
    """What nobody has validated may be damaged, and is no reason to delete a whole one."""
    doubtful = SavedCheckpoint(iteration=10, is_validated=False, metric=0.0)
    saved = [doubtful, *whole(i20=1.0, i30=2.0, i40=3.0)]
    retention = Retention(keep_last=1, keep_best=KeepBest(metric="loss"))

    assert iterations_to_delete(saved, retention) == [10, 30]


def test_of_equal_ones_the_newest_is_the_best() -> None:
    """A tie goes to what has been trained for longer."""
    assert best_of(whole(i10=1.0, i20=1.0, i30=2.0), KeepBest(metric="loss")) == 20
    assert best_of(whole(i10=None), KeepBest(metric="loss")) is None
    assert best_of(whole(i10=1.0), None) is None


def test_one_checkpoint_at_least_is_kept() -> None:
    """Keeping none is refused."""
    with pytest.raises(ValueError, match="'keep_last' must be >= 1: 0"):
        Retention(keep_last=0)


def test_what_is_not_finite_pushes_out_nothing() -> None:
    """It counts as no checkpoint, nor as the best one; of several the newest is left to look at."""
    good = [SavedCheckpoint(iteration=i, is_validated=True, metric=2.0) for i in (10, 20, 30)]
    bad = [
        SavedCheckpoint(iteration=i, is_validated=True, metric=1.0, is_finite=False)
        for i in (40, 50, 60)
    ]
    keep_best = KeepBest(metric="loss")
    retention = Retention(keep_last=2, keep_every=40, keep_best=keep_best)

    assert iterations_to_delete([*good, *bad], retention) == [10, 40, 50]
    assert iterations_to_delete([good[0], *bad], retention) == [40, 50]
    assert best_of([*good, *bad], keep_best) == 30


def test_the_newest_verified_one_stays() -> None:
    """The run goes back to it if the next verification fails."""
    verified = {10: 8, 20: 16, 30: 24, 40: 24, 50: 24}
    saved = [
        SavedCheckpoint(iteration=i, is_validated=True, verified_iteration=verified[i])
        for i in verified
    ]

    assert iterations_to_delete(saved, Retention(keep_last=1)) == [10, 30, 40]

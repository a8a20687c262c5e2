"""Which checkpoints may go."""

from __future__ import annotations

import pytest

from trainers.checkpoints.retention import iterations_to_delete


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
        ([10, 20], [10, 20, 30], 2, []),
    ],
)
def test_only_what_is_older_than_enough_whole_ones_goes(
    saved: list[int], validated: list[int], keep_last: int, gone: list[int]
) -> None:
    """A checkpoint that was never validated does not count as one that is kept."""
    assert iterations_to_delete(saved, validated=validated, keep_last=keep_last) == gone


def test_one_checkpoint_at_least_is_kept() -> None:
    """Keeping none is refused."""
    with pytest.raises(ValueError, match="keep_last must be at least 1; found 0"):
        iterations_to_delete([10], validated=[10], keep_last=0)

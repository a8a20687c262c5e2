from __future__ import annotations

import numpy as np
import numpy.typing as npt

from trainers.tasks.predictor import balanced_weight


def test_positives_weigh_as_much_as_negatives() -> None:
    """One positive among four voxels weighs half of the four, the three others share the rest."""
    weight = balanced_weight(np.array([[[1, 0, 0, 0]]], bool), np.ones((1, 1, 4), bool))

    assert weight.dtype == np.float32
    np.testing.assert_allclose(weight, [[[2, 2 / 3, 2 / 3, 2 / 3]]], rtol=1e-6)


def test_each_channel_is_balanced_over_the_whole_batch() -> None:
    """Samples share the counts of a channel; channels do not share theirs."""
    positive = np.array([[[1, 1], [1, 0]], [[1, 0], [0, 1]]], dtype=bool)  # [B, K, x]

    weight = balanced_weight(positive, np.ones_like(positive))

    first, second = 2 / 3, 2.0
    expected = np.array([[[first, first], [1, 1]], [[first, second], [1, 1]]])
    np.testing.assert_allclose(weight, expected, rtol=1e-6)


def test_unknown_voxels_neither_weigh_nor_count() -> None:
    """The balance is that of the known voxels alone."""
    positive = np.array([[[1, 0, 0, 0, 1]]], dtype=bool)
    known = np.array([[[1, 1, 0, 0, 0]]], dtype=bool)

    assert balanced_weight(positive, known).tolist() == [[[1, 1, 0, 0, 0]]]


def test_absent_kind() -> None:
    """Positives alone, or negatives alone, weigh what they weigh elsewhere: half."""
    known = np.array([[[1, 1, 0]]], dtype=bool)

    assert balanced_weight(np.ones((1, 1, 3), bool), known).tolist() == [[[0.5, 0.5, 0]]]
    assert balanced_weight(np.zeros((1, 1, 3), bool), known).tolist() == [[[0.5, 0.5, 0]]]


def test_nothing_known() -> None:
    """A batch that is masked altogether weighs nothing, and nothing is divided by zero."""
    nothing = np.zeros((2, 3, 4, 4), dtype=bool)

    assert not balanced_weight(~nothing, nothing).any()


def test_parts_of_a_batch_weigh_what_they_do_in_the_whole() -> None:
    """A part that knows the counts of the whole batch gives its voxels the same weights."""
    rng = np.random.default_rng(0)
    positive, known = rng.random((2, 4, 3, 5)) < [[[[0.3]]], [[[0.8]]]]
    whole = balanced_weight(positive, known)
    counts: list[npt.NDArray[np.int64]] = []

    def note(of_part: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        counts.append(of_part)
        return of_part

    halves = [(positive[part], known[part]) for part in (slice(2), slice(2, 4))]
    for half in halves:
        balanced_weight(*half, note)
    parts = [balanced_weight(*half, lambda _: counts[0] + counts[1]) for half in halves]

    assert np.array_equal(np.concatenate(parts), whole)

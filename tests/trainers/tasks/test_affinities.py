from __future__ import annotations

import gunpowder
import numpy as np
import pytest

from trainers.tasks import AffinitiesTaskConfig, Predictor


def _predictor(*neighborhood: tuple[int, ...]) -> Predictor:
    return AffinitiesTaskConfig(neighborhood=neighborhood).build_predictor()


def test_neighbors_in_two_dimensions() -> None:
    """A target is 1 where the voxel and its neighbor have the same id, and that is not 0."""
    gt = np.array(
        [
            [5, 5, 0, 0],
            [5, 7, 7, 0],
            [5, 7, 0, 0],
        ],
        dtype=np.uint64,
    )

    target = _predictor((1, 0), (0, 1)).create_target(gt, (4.0, 4.0))

    assert target.dtype == np.float32
    assert target.tolist() == [
        [[1, 0, 0], [1, 1, 0]],  # down
        [[1, 0, 0], [0, 1, 0]],  # right
    ]


def test_negative_and_far_offsets() -> None:
    """Offsets of any sign and length work together, given ground truth beyond both ends."""
    gt = np.array([[1, 1, 2, 2, 2, 1, 1]])
    predictor = _predictor((0, -2), (0, 3), (0, -1))

    assert predictor.context((4.0, 4.0)) == ((0, 2), (0, 3))
    assert predictor.create_target(gt, (4.0, 4.0)).tolist() == [
        [[0, 0]],  # 2 and 1, 2 and 1
        [[0, 0]],  # 2 and 1, 2 and 1
        [[0, 1]],  # 2 and 1, 2 and 2
    ]


def test_far_neighbors_in_three_dimensions() -> None:
    """Between two touching boxes the affinity is 0 as far as the offset reaches."""
    gt = np.ones((8, 3, 3), dtype=np.uint32)
    gt[4:] = 2

    target = _predictor((3, 0, 0)).create_target(gt, (8.0, 8.0, 8.0))

    assert target.shape == (1, 5, 3, 3)
    assert target[0, :, 1, 1].tolist() == [1, 0, 0, 0, 1]


@pytest.mark.parametrize("power", [31, 32, 53, 63])
@pytest.mark.parametrize("distance", [1, 2**31, 2**32])
def test_large_ids_stay_apart(power: int, distance: int) -> None:
    """Ids that a cast to int32, int64 or float64 would merge are told apart."""
    first, second = 2**power, (2**power + distance) % 2**64
    gt = np.array([[first, first, second, second]], dtype=np.uint64)

    target = _predictor((0, 1)).create_target(gt, (4.0, 4.0))

    assert target.tolist() == [[[1, 0, 1]]]


def test_id_that_is_zero_in_its_low_bits_is_no_background() -> None:
    """2³² is an object, not the background that its low 32 bits are."""
    gt = np.array([[2**32, 2**32, 0]], dtype=np.uint64)

    assert _predictor((0, 1)).create_target(gt, (4.0, 4.0)).tolist() == [[[1, 0]]]


def test_target_is_known_where_both_ends_are() -> None:
    """The mask of a channel is 1 where the voxel and its neighbor are both annotated."""
    mask = np.array([[1, 1, 0, 1, 1]], dtype=np.uint8)
    predictor = _predictor((0, 1), (0, -1))

    known = predictor.create_mask(mask, np.ones_like(mask), (4.0, 4.0))

    assert known.dtype == np.uint8
    assert known.tolist() == [
        [[0, 0, 1]],  # voxels 1, 2, 3 and their right neighbors
        [[1, 0, 0]],  # and their left neighbors
    ]


def test_region_of_ground_truth() -> None:
    """The region grows by the offsets only, in whole voxels, to the sides that they point to."""
    roi = gunpowder.Roi((80, 40, 40), (160, 80, 80))

    region = _predictor((1, 0, 0), (0, -9, 0)).gt_region_for_roi(roi, gunpowder.Coordinate(8, 4, 4))

    assert region == gunpowder.Roi((80, 4, 40), (168, 116, 80))


@pytest.mark.parametrize(
    "neighborhood", [((0, 0, 0),), ((1, 0), (1, 0, 0)), ((1, 0, 0), (1, 0, 0))]
)
def test_neighborhood_that_makes_no_sense_is_refused(
    neighborhood: tuple[tuple[int, ...], ...],
) -> None:
    """An offset of nothing, mixed dimensions and repeats are faults of the config."""
    with pytest.raises(ValueError, match="must be different, nonzero offsets of equally many axes"):
        AffinitiesTaskConfig(neighborhood=neighborhood)


def test_neighborhood_is_not_empty() -> None:
    """Without an offset there is nothing to predict."""
    with pytest.raises(ValueError, match="neighborhood"):
        AffinitiesTaskConfig(neighborhood=())

"""Where samples are taken."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from gunpowder import Coordinate, Roi

from trainers.datasets.dataset import Dataset
from trainers.errors import DataError
from trainers.stream.random_location import RandomLocation

RAW = np.zeros((20, 20, 20), np.uint8)
GT = np.ones((10, 10, 10), np.uint64)


def blocks(
    dataset: Dataset, shape: tuple[int, ...] = (4, 4, 4), min_masked: float | None = None
) -> list[Roi]:
    """300 picks, in voxels."""
    location = RandomLocation(dataset, block_shape=shape, min_masked=min_masked)
    rng = np.random.default_rng(0)
    return [location.pick(rng) / dataset.raw.voxel_size for _ in range(300)]


def test_blocks_fill_the_ground_truth_and_do_not_leave_it(
    make_dataset: Callable[..., Dataset],
) -> None:
    """Every place at which the block fits is taken sooner or later, the outermost ones too."""
    dataset = make_dataset(RAW, GT, gt_offset=(3, 5, 7), voxel_size_nm=(40, 4, 4))

    begins = np.array([tuple(block.begin) for block in blocks(dataset)])

    assert begins.min(0).tolist() == [3, 5, 7]
    assert begins.max(0).tolist() == [9, 11, 13]


def test_a_block_larger_than_the_ground_truth_contains_it(
    make_dataset: Callable[..., Dataset],
) -> None:
    """Along z the block is larger, along the other axes it is not."""
    dataset = make_dataset(RAW, GT[:2], gt_offset=(3, 5, 7))

    for block in blocks(dataset):
        assert block.begin[0] <= 3 and block.end[0] >= 5
        assert Roi((5, 7), (10, 10)).contains(Roi(block.begin[1:], block.shape[1:]))


def test_sample_points_lie_in_the_block(make_dataset: Callable[..., Dataset]) -> None:
    """Each point is taken, in any place of the block, and the block stays in the ground truth."""
    points = [(3.5 * 40, 9.5 * 4, 9.5 * 4), (11.9 * 40, 5.0 * 4, 16.9 * 4)]
    dataset = make_dataset(RAW, GT, gt_offset=(3, 5, 7), voxel_size_nm=(40, 4, 4), points_nm=points)

    picked = blocks(dataset)

    first, second = Coordinate(3, 9, 9), Coordinate(11, 5, 16)
    with_first = [block for block in picked if block.contains(first)]
    assert 100 < len(with_first) < 200
    assert {block.begin[1] for block in with_first} == {6, 7, 8, 9}
    assert all(block.contains(second) for block in picked if block not in with_first)
    assert all(Roi((3, 5, 7), (10, 10, 10)).contains(block) for block in picked)


@pytest.mark.parametrize("min_masked", [0.5, 1.0])
def test_min_masked_rejects(make_dataset: Callable[..., Dataset], min_masked: float) -> None:
    """Every block has at least the fraction; without min_masked many have less."""
    cells = np.random.default_rng(1).integers(0, 2, (5, 5, 5), np.uint8)
    mask = cells.repeat(2, 0).repeat(2, 1).repeat(2, 2) * np.uint8(255)
    dataset = make_dataset(RAW, GT, mask, gt_offset=(3, 5, 7))

    def covered(block: Roi) -> float:
        inside = tuple(
            slice(begin - first, end - first)
            for begin, end, first in zip(block.begin, block.end, (3, 5, 7), strict=True)
        )
        return float((mask[inside] > 0).mean())

    shape = (2, 2, 2)
    assert min(map(covered, blocks(dataset, shape))) == 0
    assert min(map(covered, blocks(dataset, shape, min_masked))) >= min_masked


def test_a_mask_that_never_suffices_is_named(make_dataset: Callable[..., Dataset]) -> None:
    """The error names the dataset, the fraction found, the one asked for, and ways out."""
    mask = np.zeros_like(GT, np.uint8)
    mask[:, :, :1] = 1
    dataset = make_dataset(RAW, GT, mask, name="sparse")

    with pytest.raises(DataError) as caught:
        blocks(dataset, min_masked=0.5)

    assert str(caught.value) == (
        "dataset 'sparse': the mask covers at most 0.25 of an output block of 4x4x4 voxels, and "
        "min_masked asks for 0.5; lower min_masked, or check the mask"
    )


def test_without_a_mask_the_ground_truth_is_what_counts(
    make_dataset: Callable[..., Dataset],
) -> None:
    """Ground truth of half a block's size covers half of it."""
    dataset = make_dataset(RAW, GT[:2])

    assert blocks(dataset, min_masked=0.5)
    with pytest.raises(DataError, match=r"at most 0\.5 of an output block"):
        blocks(dataset, min_masked=0.6)


def test_two_dimensions(make_dataset: Callable[..., Dataset], spec_of: Any) -> None:
    """Images are handled like volumes."""
    dataset = make_dataset(RAW[0], GT[0], gt_offset=(5, 7))

    assert {block.shape for block in blocks(dataset, (4, 4))} == {Coordinate(4, 4)}

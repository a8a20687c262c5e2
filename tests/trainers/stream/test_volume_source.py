"""Blocks of volumes, wherever they lie."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from gunpowder import Coordinate, Roi

from trainers.datasets.dataset import Dataset
from trainers.errors import DataError
from trainers.stream.volume_source import VolumeReader

RAW = np.full((6, 6), 255, np.uint8)
GT = np.arange(4, dtype=np.uint64).reshape(2, 2) + 2**53
EVERYWHERE = Roi((-8, -8), (64, 64))


def test_all_is_zero_where_there_is_no_data(make_dataset: Callable[..., Dataset]) -> None:
    """Raw is normalized to 0..1 and has a channel axis; ids stay what they are."""
    reader = VolumeReader(make_dataset(RAW, GT, gt_offset=(2, 3)), clip_raw=False)

    raw, gt = reader.begin_raw(EVERYWHERE)(), reader.begin_gt(EVERYWHERE)()

    assert (raw.dtype, raw.shape) == (np.dtype(np.float32), (1, 8, 8))
    assert raw.sum() == 36 and raw[0, 1:7, 1:7].all()
    assert gt.dtype == np.uint64
    assert gt[3:5, 4:6].tolist() == [[2**53, 2**53 + 1], [2**53 + 2, 2**53 + 3]]
    assert np.count_nonzero(gt) == 4


def test_labels_of_bool_are_0_and_1(make_dataset: Callable[..., Dataset]) -> None:
    """As numbers, so that every task can compute with them."""
    labels = np.array([[True, False], [True, True]])
    reader = VolumeReader(make_dataset(RAW, labels, gt_offset=(2, 3)), clip_raw=False)

    gt = reader.begin_gt(EVERYWHERE)()
    assert gt.dtype == np.uint8
    assert gt[3:5, 4:6].tolist() == [[1, 0], [1, 1]] and gt.sum() == 3


def test_clipped_raw_ends_with_the_ground_truth(make_dataset: Callable[..., Dataset]) -> None:
    """Outside of it, raw reads as 0."""
    reader = VolumeReader(make_dataset(RAW, GT, gt_offset=(2, 3)), clip_raw=True)

    raw = reader.begin_raw(EVERYWHERE)()

    assert raw[0, 3:5, 4:6].tolist() == [[1, 1], [1, 1]]
    assert raw.sum() == 4


def test_without_a_mask_all_ground_truth_is_known(make_dataset: Callable[..., Dataset]) -> None:
    """The mask is 1 in the ground truth's extent."""
    reader = VolumeReader(make_dataset(RAW, GT, gt_offset=(2, 3)), clip_raw=True)

    mask = reader.begin_mask(EVERYWHERE)()

    assert mask.dtype == np.uint8
    assert mask.sum() == 4 and mask[3:5, 4:6].all()


def test_a_mask_is_zero_or_one(make_dataset: Callable[..., Dataset]) -> None:
    """Any value but 0 stands for known."""
    mask = np.array([[0, 255], [7, 1]], np.int16)
    reader = VolumeReader(make_dataset(RAW, GT, mask, gt_offset=(2, 3)), clip_raw=True)

    assert reader.begin_mask(EVERYWHERE)()[3:5, 4:6].tolist() == [[0, 1], [1, 1]]


def test_regions_far_away_are_zero(make_dataset: Callable[..., Dataset]) -> None:
    """A region that touches no array has the shape and the channels of any other."""
    reader = VolumeReader(make_dataset(np.stack([RAW, RAW]), GT), clip_raw=True)
    far = Roi((800, 800), (16, 24))

    assert reader.begin_raw(far)().shape == (2, 2, 3)
    assert not reader.begin_raw(far)().any()
    assert reader.begin_gt(far)().shape == reader.begin_mask(far)().shape == (2, 3)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_no_numbers_are_refused(
    make_dataset: Callable[..., Dataset], bad: float
) -> None:
    """The error names the dataset and the array; a part without them can be read."""
    raw = RAW.astype(np.float32)
    raw[0, 0] = bad
    dataset = make_dataset(raw, np.ones((6, 6), np.uint8), name="holes")
    reader = VolumeReader(dataset, clip_raw=True)

    with pytest.raises(DataError, match=r"raw of dataset 'holes' \(.*raw\) holds NaN or infinite"):
        reader.begin_raw(dataset.raw.roi)()
    assert reader.begin_raw(Roi(Coordinate(8, 8), Coordinate(8, 8)))().tolist() == [[[255.0]]]


def test_a_dataset_without_ground_truth_is_refused(make_dataset: Callable[..., Dataset]) -> None:
    """The error names it."""
    with pytest.raises(DataError, match="dataset 'bare' has no ground truth"):
        VolumeReader(make_dataset(RAW, None, name="bare"), clip_raw=True)

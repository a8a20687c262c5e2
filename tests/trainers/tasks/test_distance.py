from __future__ import annotations

import gunpowder
import numpy as np
import pytest

from trainers.tasks import DistanceTaskConfig, Predictor

VOXEL_NM = (40.0, 8.0, 4.0)


def _predictor(scale_nm: float) -> Predictor:
    return DistanceTaskConfig(scale_nm=scale_nm).build_predictor()


def test_distances_along_a_line() -> None:
    """Between objects that touch is a border; background is negative; the unit is nm."""
    gt = np.zeros((7, 22), dtype=np.uint64)
    gt[:, 8:12] = 2**53
    gt[:, 12:15] = 2**53 + 1

    target = _predictor(scale_nm=8.0).create_target(gt, (8.0, 4.0))

    assert target.dtype == np.float32
    assert target.shape == (1, 1, 10)
    expected_nm = [-8, -4, 4, 8, 8, 4, 4, 8, 4, -4]
    np.testing.assert_allclose(target[0, 0], np.tanh(np.array(expected_nm) / 8), rtol=1e-6)


def test_distances_know_the_voxel_size() -> None:
    """One voxel of 30 nm is farther than several of 4 nm."""
    gt = np.zeros((3, 21), dtype=np.uint8)
    gt[1, 5:16] = 1

    target = _predictor(scale_nm=10.0).create_target(gt, (30.0, 4.0))

    assert target.shape == (1, 1, 5)
    np.testing.assert_allclose(target[0, 0], np.tanh([1.6, 2.0, 2.4, 2.0, 1.6]), rtol=1e-6)


def test_distance_stops_at_three_scales() -> None:
    """Without a border in sight the target is tanh(3) in objects, -tanh(3) in background."""
    predictor = _predictor(scale_nm=8.0)

    inside = predictor.create_target(np.full((13, 13), 9, np.uint32), (4.0, 4.0))
    outside = predictor.create_target(np.zeros((13, 13), np.uint32), (4.0, 4.0))

    np.testing.assert_allclose([inside, outside], [[[[0.9950548]]], [[[-0.9950548]]]], rtol=1e-6)


def test_context_reaches_three_scales() -> None:
    """Ground truth is needed as far as a border matters; odd voxel sizes add no voxel."""
    predictor = _predictor(scale_nm=20.0)

    assert predictor.context(VOXEL_NM) == ((2, 8, 15), (2, 8, 15))
    assert predictor.context((0.1 + 0.2,)) == ((200,), (200,))


def test_region_of_ground_truth_in_tenths_of_nanometers() -> None:
    """The region is the same in nm whatever the world unit is."""
    region = _predictor(scale_nm=20.0).gt_region_for_roi(
        gunpowder.Roi((0, 0), (75, 75)), gunpowder.Coordinate(25, 75), units_per_nm=10
    )

    assert region == gunpowder.Roi((-600, -600), (1275, 1275))


def test_block_equals_the_whole_volume() -> None:
    """The target of a block is that of the whole volume, up to its very edge."""
    rng = np.random.default_rng(3)
    seeds = rng.integers(0, 4, size=(5, 5, 5)).astype(np.uint64)
    volume = seeds.repeat(5, axis=0).repeat(8, axis=1).repeat(9, axis=2)
    predictor = _predictor(scale_nm=20.0)
    padded = np.pad(volume, [(2, 2), (8, 8), (15, 15)])
    whole = predictor.create_target(padded, VOXEL_NM)

    block = predictor.create_target(volume[6:20, 4:34, 5:42], VOXEL_NM)

    assert block.shape == (1, 10, 14, 7)
    np.testing.assert_allclose(block, whole[:, 8:18, 12:26, 20:27], rtol=1e-5)


def test_target_is_unknown_where_a_hidden_border_may_be_nearer() -> None:
    """Next to what is not annotated only voxels with a nearer border are known."""
    gt = np.zeros((1, 25), dtype=np.uint8)
    gt[0, 6:14] = 1  # annotated; behind it nobody knows
    mask = np.zeros((1, 25), dtype=np.uint8)
    mask[0, :14] = 1
    predictor = _predictor(scale_nm=8.0)

    known = predictor.create_mask(mask.repeat(13, 0), gt.repeat(13, 0), (4.0, 4.0))

    assert known.dtype == np.uint8
    assert known.tolist() == [[[1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]]]


def test_target_is_known_out_of_reach_of_what_is_hidden() -> None:
    """An unknown voxel three scales away hides nothing, one voxel nearer it may."""
    gt = np.ones((13, 14), dtype=np.uint8)
    mask = np.ones((13, 14), dtype=np.uint8)
    mask[:, 0] = 0

    known = _predictor(scale_nm=8.0).create_mask(mask, gt, (4.0, 4.0))

    assert known.tolist() == [[[1, 1]]]
    mask[:, 1] = 0
    known = _predictor(scale_nm=8.0).create_mask(mask, gt, (4.0, 4.0))
    assert known.tolist() == [[[0, 1]]]


def test_objects_balance_the_background() -> None:
    """Voxels inside of objects together weigh as much as those of the background."""
    target = np.array([[[[0.5, -0.5, -0.9, -0.9]]]], dtype=np.float32)

    weight = _predictor(scale_nm=8.0).create_weight(
        np.array([[[1, 0, 0, 0]]]), target, np.ones((1, 1, 1, 4), np.uint8)
    )

    np.testing.assert_allclose(weight, [[[[2, 2 / 3, 2 / 3, 2 / 3]]]], rtol=1e-6)


def test_scale_is_positive() -> None:
    """A scale of nothing is a fault of the config."""
    with pytest.raises(ValueError, match="scale_nm"):
        DistanceTaskConfig(scale_nm=0.0)

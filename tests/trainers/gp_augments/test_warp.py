"""The kernels that sample deformed blocks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from trainers.gp_augments.warp import warp

EVERY_VOXEL: Any = np.indices((3, 4, 5)).astype(np.float32)
LARGE_IDS = np.arange(60, dtype=np.uint64).reshape(3, 4, 5) + 2**53


@pytest.mark.parametrize("interpolate", [False, True])
def test_positions_of_the_voxels_themselves_change_nothing(interpolate: bool) -> None:
    """Neither kernel changes a bit where nothing moves."""
    source = np.random.default_rng(0).random((2, 3, 4, 5), np.float32)

    warped = warp(
        source, EVERY_VOXEL, step=1, start=(0, 0, 0), shape=(3, 4, 5), interpolate=interpolate
    )

    assert warped.dtype == np.float32
    assert np.array_equal(warped, source)


def test_nearest_keeps_ids_that_no_float_can_hold() -> None:
    """Neighboring ids above 2^53 stay apart, and keep their type."""
    warped = warp(
        LARGE_IDS,
        EVERY_VOXEL + np.float32(0.4),
        step=1,
        start=(0, 0, 0),
        shape=(3, 4, 5),
        interpolate=False,
    )

    assert warped.dtype == np.uint64
    assert np.array_equal(warped, LARGE_IDS)


def test_linear_lies_between_the_voxels() -> None:
    """A quarter of the way along x the value is a quarter of the way too, in 2-D."""
    source = np.array([[0.0, 4.0, 8.0], [0.0, 4.0, 8.0]], np.float32)
    positions: Any = np.array([[[0.5, 0.5]], [[0.25, 1.25]]], np.float32)

    warped = warp(source, positions, step=1, start=(0, 0), shape=(1, 2), interpolate=True)

    assert warped.tolist() == [[1.0, 5.0]]


def test_a_coarse_grid_is_interpolated_from_any_voxel_on() -> None:
    """With nodes at voxels 0, 4 and 8, voxels 3 to 5 lie between the first and the last two."""
    source = np.arange(30, dtype=np.float32).reshape(1, 30)
    positions: Any = np.array([[[0, 0, 0]], [[0, 8, 20]]], np.float32)

    warped = warp(source, positions, step=4, start=(0, 3), shape=(1, 3), interpolate=True)

    assert warped.tolist() == [[6.0, 8.0, 11.0]]


def test_positions_outside_take_the_border() -> None:
    """Rounding may lead a hair outside of the block that was read."""
    source = np.array([[1.0, 2.0]], np.float32)
    positions: Any = np.array([[[0, 0]], [[-0.1, 1.6]]], np.float32)

    for interpolate in (False, True):
        warped = warp(
            source, positions, step=1, start=(0, 0), shape=(1, 2), interpolate=interpolate
        )
        assert warped.tolist() == [[1.0, 2.0]]


@pytest.mark.parametrize("num_channels", [1, 3])
def test_bytes_are_interpolated_like_any_other_type(num_channels: int) -> None:
    """Bit for bit, at the border and outside of it too; 0..255 becomes 0..1."""
    rng = np.random.default_rng(0)
    source = rng.integers(0, 256, (num_channels, 9, 10, 11), np.uint8)
    positions = rng.uniform(-1, 11, (3, 4, 4, 4))

    def warped(values: np.ndarray) -> np.ndarray:
        return warp(values, positions, step=3, start=(1, 0, 2), shape=(8, 9, 7), interpolate=True)

    assert warped(source).min() >= 0 and warped(source).max() <= 1
    wide = warped(source.astype(np.uint16)) * np.float32(65535) / np.float32(255)
    assert np.abs(warped(source) - wide).max() < 1e-6
    as_floats = warped(source.astype(np.float32)) * np.float32(1 / 255)
    assert np.array_equal(warped(source), as_floats)

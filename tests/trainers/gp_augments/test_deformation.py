"""Where the values of deformed blocks come from."""

from __future__ import annotations

import math

import numpy as np

from trainers.gp_augments.deformation import (
    planar_rotation,
    random_displacement,
    source_positions,
    uniform_rotation,
)

NOWHERE = np.zeros((3, 1, 1, 1))


def test_nothing_moves_without_rotation_and_displacement() -> None:
    """Every voxel comes from itself, exactly."""
    positions = source_positions(
        (5, 6, 7), (40.0, 4.0, 4.0), step=1, rotation=np.eye(3), displacement=NOWHERE
    )

    assert np.array_equal(positions, np.indices((5, 6, 7)))


def test_the_coarse_grid_reaches_the_last_voxel() -> None:
    """With one node at every 4 voxels, 10 voxels need nodes at 0, 4, 8 and 12."""
    positions = source_positions(
        (10, 9), (1.0, 1.0), step=4, rotation=np.eye(2), displacement=np.zeros((2, 1, 1))
    )

    assert positions[0, :, 0].tolist() == [0, 4, 8, 12]
    assert positions[1, 0].tolist() == [0, 4, 8]


def test_a_quarter_turn_is_about_the_centre_of_the_block() -> None:
    """In the plane of the last two axes each corner comes from the next one; z stays."""
    positions = source_positions(
        (1, 4, 4),
        (5.0, 1.0, 1.0),
        step=1,
        rotation=planar_rotation(math.pi / 2, 3),
        displacement=NOWHERE,
    )

    assert np.allclose(positions[:, 0, 0, 0], [0, 3, 0], atol=1e-5)
    assert np.allclose(positions[:, 0, 3, 0], [0, 3, 3], atol=1e-5)
    assert np.allclose(positions[:, 0, 3, 3], [0, 0, 3], atol=1e-5)


def test_a_rotation_keeps_distances_in_nm() -> None:
    """Voxels of 40 x 4 x 4 nm turn in space, so steps along every axis keep their length."""
    size = np.array([40.0, 4.0, 4.0])
    positions = source_positions(
        (6, 7, 8),
        tuple(size),
        step=1,
        rotation=uniform_rotation(np.random.default_rng(0)),
        displacement=NOWHERE,
    )

    in_nm = positions * size.reshape(3, 1, 1, 1)
    for axis, length in enumerate(size):
        steps = np.linalg.norm(np.diff(in_nm, axis=axis + 1), axis=0)
        assert np.allclose(steps, length, rtol=1e-4)


def test_uniform_rotations_are_rotations_to_all_sides() -> None:
    """They keep handedness, and the z axis points to every eighth of space about equally often."""
    rng = np.random.default_rng(1)
    rotations = np.array([uniform_rotation(rng) for _ in range(4000)])

    assert np.allclose(np.linalg.det(rotations), 1)
    octants = (rotations[:, :, 0] > 0) @ [1, 2, 4]
    assert np.all(np.abs(np.bincount(octants) - 500) < 100)


def test_displacements_have_the_spread_that_was_asked_for() -> None:
    """At the control points themselves it is sigma, of each axis apart."""
    rng = np.random.default_rng(2)
    displacement = random_displacement(
        (401, 401), step=10, spacing=(10, 10), sigma=(3.0, 30.0), rng=rng
    )

    assert displacement.shape == (2, 41, 41)
    assert np.allclose(displacement.std(axis=(1, 2)), [3.0, 30.0], rtol=0.1)


def test_displacements_are_smooth() -> None:
    """Between neighboring voxels they differ little, with a control point every 16 voxels."""
    displacement = random_displacement(
        (64, 64), step=1, spacing=(16, 16), sigma=(1.0, 1.0), rng=np.random.default_rng(3)
    )

    assert displacement.std() > 0.5
    assert np.abs(np.diff(displacement, axis=2)).max() < 0.5


def test_a_block_smaller_than_the_spacing_moves_as_a_whole() -> None:
    """Two control points outside of it are enough for a single voxel."""
    displacement = random_displacement(
        (1, 4), step=1, spacing=(16, 16), sigma=(1.0, 1.0), rng=np.random.default_rng(4)
    )

    assert np.isfinite(displacement).all()

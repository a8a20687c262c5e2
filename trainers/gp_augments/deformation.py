"""Rotate and bend blocks: where each voxel's value comes from."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.interpolate import CubicSpline
from scipy.spatial.transform import Rotation

Floats = npt.NDArray[np.float64]


def planar_rotation(angle: float, num_axes: int) -> Floats:
    """The matrix that turns the last two axes by an angle in radians."""
    matrix = np.eye(num_axes)
    matrix[-2:, -2:] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    return matrix


def uniform_rotation(rng: np.random.Generator) -> Floats:
    """A rotation matrix of three dimensions, each orientation as likely as any other."""
    matrix: Floats = Rotation.from_quat(rng.normal(size=4)).as_matrix()
    return matrix


def grid_shape(block_shape: Sequence[int], step: int) -> tuple[int, ...]:
    """Nodes of the coarse grid, one at every `step` voxels, the last at or after the last voxel."""
    return tuple(-(-(length - 1) // step) + 1 for length in block_shape)


def source_positions(
    block_shape: Sequence[int],
    voxel_size: Sequence[float],
    *,
    step: int,
    rotation: Floats,
    displacement: Floats,
) -> Floats:
    """Where the values at the nodes of the coarse grid come from, `[axis, *grid_shape]`.

    Positions are indices of voxels, not whole, relative to the block's first voxel; they may lie
    outside of the block. The rotation is about the block's centre, in space and not in voxels.

    Args:
        displacement: In units of the voxel size, `[axis, *grid_shape]`.
    """
    index = np.stack(
        np.meshgrid(
            *(step * np.arange(length) for length in grid_shape(block_shape, step)), indexing="ij"
        )
    )
    column = (-1, *(1,) * len(block_shape))
    size = np.reshape(np.asarray(voxel_size, float), column)
    centre = (np.reshape(block_shape, column) - 1) / 2
    moved = np.tensordot(rotation - np.eye(len(size)), (index - centre) * size, 1) + displacement
    positions: Floats = index + moved / size
    return positions


def random_displacement(
    block_shape: Sequence[int],
    *,
    step: int,
    spacing: Sequence[int],
    sigma: Sequence[float],
    rng: np.random.Generator,
) -> Floats:
    """A smooth field `[axis, *grid_shape]`, in the unit of sigma.

    Control points on a lattice centred on the block are displaced independently, normally
    distributed; between them it is the natural cubic spline along each axis.

    Args:
        spacing: Voxels between control points along each axis.
        sigma: Standard deviation of the displacements along each axis.
    """
    weights = [
        _spline_weights(length, step, each)
        for length, each in zip(grid_shape(block_shape, step), spacing, strict=True)
    ]
    field = np.stack(
        [each * rng.normal(size=[len(weight.T) for weight in weights]) for each in sigma]
    )
    for axis, weight in enumerate(weights, start=1):
        field = np.moveaxis(np.tensordot(weight, field, (1, axis)), 0, axis)
    return field


def _spline_weights(num_nodes: int, step: int, spacing: int) -> Floats:
    """The matrix that takes values at control points to the nodes of the grid, of one axis."""
    span = step * (num_nodes - 1)
    num_intervals = max(1, -(-span // spacing))
    first = (span - spacing * num_intervals) / 2
    points = first + spacing * np.arange(num_intervals + 1)
    spline = CubicSpline(points, np.eye(len(points)), bc_type="natural")
    weights: Floats = spline(step * np.arange(num_nodes))
    return weights

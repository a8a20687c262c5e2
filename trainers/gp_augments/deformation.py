"""Rotations and elastic deformations: where the value of each voxel comes from.

Elastic deformation as in the U-Net paper (Ronneberger et al., 2015): control points on a coarse
lattice are displaced by Gaussian noise, with cubic interpolation in between.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.interpolate import CubicSpline
from scipy.spatial.transform import Rotation

Floats = npt.NDArray[np.float64]


def planar_rotation(angle: float, num_axes: int) -> Floats:
    """Return the matrix that rotates the last two axes by an angle in radians."""
    matrix = np.eye(num_axes)
    matrix[-2:, -2:] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    return matrix


def uniform_rotation(rng: np.random.Generator) -> Floats:
    """Return a rotation matrix in 3-D, uniform over all orientations.

    A normalized Gaussian 4-vector is uniform on the sphere (Muller, 1959), and unit quaternions
    that are uniform on it are uniform rotations (Shoemake, 1992). Not `Rotation.random()`, which
    draws from NumPy's global state unless it is given a generator.
    """
    matrix: Floats = Rotation.from_quat(rng.normal(size=4)).as_matrix()
    return matrix


def grid_shape(block_shape: Sequence[int], step: int) -> tuple[int, ...]:
    """Return the number of nodes along each axis, one every `step` voxels, to the last voxel."""
    return tuple(-(-(length - 1) // step) + 1 for length in block_shape)


def source_positions(
    block_shape: Sequence[int],
    voxel_size: Sequence[float],
    *,
    step: int,
    rotation: Floats,
    displacement: Floats,
) -> Floats:
    """Return where the values at the nodes of the coarse grid come from, `[axis, *grid_shape]`.

    Positions are fractional voxel indices, relative to the block's first voxel; they may lie
    outside the block. The rotation is about the block's center, in physical space, so that it is
    right for anisotropic voxels.

    Args:
        block_shape: In voxels.
        voxel_size: In world units.
        displacement: In world units, `[axis, *grid_shape]`.
    """
    index = np.stack(
        np.meshgrid(
            *(step * np.arange(length) for length in grid_shape(block_shape, step)), indexing="ij"
        )
    )
    column = (-1, *(1,) * len(block_shape))
    size = np.reshape(np.asarray(voxel_size, float), column)
    center = (np.reshape(block_shape, column) - 1) / 2
    moved = np.tensordot(rotation - np.eye(len(size)), (index - center) * size, 1) + displacement
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
    """Return a smooth random field `[axis, *grid_shape]`, in the unit of sigma.

    Control points on a lattice centered on the block have independent normal displacements; between
    them the field is a natural cubic spline along each axis.

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
    """Return the matrix from values at control points to values at nodes, `[node, point]`."""
    span = step * (num_nodes - 1)
    num_intervals = max(1, -(-span // spacing))
    first = (span - spacing * num_intervals) / 2
    points = first + spacing * np.arange(num_intervals + 1)
    spline = CubicSpline(points, np.eye(len(points)), bc_type="natural")
    weights: Floats = spline(step * np.arange(num_nodes))
    return weights

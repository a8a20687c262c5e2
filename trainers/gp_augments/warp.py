"""Kernels that sample blocks at deformed positions.

They release the GIL (`nogil`), so that threads overlap, and are cached on disk (`cache`), so that a
requeued run does not compile them again. Without `fastmath`: operations keep their order, so that
CPUs with other instructions give the same bits. `error_model="numpy"` leaves out checks for
division by zero, which would keep loops from being vectorized.
"""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from trainers.gp_augments.raw_values import unit_factor


def warp(
    source: npt.NDArray[Any],
    positions: npt.NDArray[np.float64],
    *,
    step: int,
    start: tuple[int, ...],
    shape: tuple[int, ...],
    interpolate: bool,
) -> npt.NDArray[Any]:
    """Sample `source` `[..., *source_shape]` at interpolated positions; return `[..., *shape]`.

    Args:
        source: With two or three spatial axes, preceded by any number of others.
        positions: Indices into the spatial axes of `source`, at the nodes of a coarse grid,
            `[axis, *grid]`; those outside `source` are clamped to its border.
        step: Voxels of the result between two nodes.
        start: Voxel of the grid at which the result begins; the grid covers all of the result.
        interpolate: Interpolate linearly and return float32, scaled as by `to_unit_range`; or take
            the nearest voxel, which keeps every bit of a label.
    """
    num_axes = len(shape)
    flat = (1,) * (3 - num_axes)
    volumes = np.ascontiguousarray(source.reshape(-1, *flat, *source.shape[-num_axes:]))
    grid = np.concatenate([np.zeros((len(flat), *positions.shape[1:])), positions])
    grid = np.ascontiguousarray(grid.reshape(3, *flat, *positions.shape[1:]), np.float64)
    begin = np.array((0,) * len(flat) + start)
    dtype = np.float32 if interpolate else source.dtype
    result = np.empty((len(volumes), *flat, *shape), dtype)
    factor = np.float32(unit_factor(source.dtype))
    if not interpolate:
        _warp_nearest(volumes, grid, step, begin, result)
    elif source.dtype == np.uint8 and min(volumes.shape[1:]) > 1:
        _warp_bytes(volumes, _pairs(volumes), grid, step, begin, factor, result)
    else:
        _warp_linear(volumes, grid, step, begin, factor, result)
    return result.reshape(*source.shape[:-num_axes], *shape)


def _pairs(volumes: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint16]:
    """View each voxel and the next one in memory as one 16-bit number, `[channel, voxel]`.

    One load for two neighbors along x makes the kernel a quarter faster.
    """
    num_channels, *shape = volumes.shape
    size = math.prod(shape)
    return np.ndarray(
        (num_channels, size - 1), np.dtype("<u2"), buffer=volumes.data, strides=(size, 1)
    )


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _cells_of_row(step, start, num_x):  # type: ignore[no-untyped-def]
    """Return the node before each voxel of a row, and its distance from it as a fraction."""
    cells, parts = np.empty(num_x, np.int32), np.empty(num_x, np.float32)
    for x in range(num_x):
        cells[x] = (x + start) // step
        parts[x] = np.float32((x + start) % step) / np.float32(step)
    return cells, parts


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _positions_of_row(positions, step, z, y, cells, parts, lasts, nodes, row):  # type: ignore[no-untyped-def]
    """Set `row` `[3, x]` to the positions of a row of voxels, clamped to the source.

    `nodes` is scratch memory, `[number of nodes along x + 1]`.
    """
    z0, y0 = z // step, y // step
    z1, y1 = min(z0 + 1, positions.shape[1] - 1), min(y0 + 1, positions.shape[2] - 1)
    part_z, part_y = (z % step) / step, (y % step) / step
    for axis in range(3):
        for x in range(positions.shape[3]):
            nodes[x] = (1 - part_z) * (
                (1 - part_y) * positions[axis, z0, y0, x] + part_y * positions[axis, z0, y1, x]
            ) + part_z * (
                (1 - part_y) * positions[axis, z1, y0, x] + part_y * positions[axis, z1, y1, x]
            )
        nodes[positions.shape[3]] = nodes[positions.shape[3] - 1]
        for x in range(row.shape[1]):
            cell = cells[x]
            position = nodes[cell] + parts[x] * (nodes[cell + 1] - nodes[cell])
            row[axis, x] = min(max(position, np.float32(0)), lasts[axis])


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _first_neighbors(u, v, w, depth, height, width, voxel):  # type: ignore[no-untyped-def]
    """Set `voxel` to the flat index of the first of the eight voxels around each position.

    u, v, w, which hold the positions, keep the fractions.
    """
    last_i, last_j = np.int32(max(depth - 2, 0)), np.int32(max(height - 2, 0))
    last_k = np.int32(max(width - 2, 0))
    for x in range(voxel.size):
        i = min(np.int32(u[x]), last_i)
        j = min(np.int32(v[x]), last_j)
        k = min(np.int32(w[x]), last_k)
        u[x] -= np.float32(i)
        v[x] -= np.float32(j)
        w[x] -= np.float32(k)
        voxel[x] = (i * np.int32(height) + j) * np.int32(width) + k


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _warp_nearest(source, positions, step, start, result):  # type: ignore[no-untyped-def]
    num_channels, depth, height, width = source.shape
    num_x = result.shape[3]
    cells, parts = _cells_of_row(step, start[2], num_x)
    lasts = np.array([depth - 1, height - 1, width - 1], np.float32)
    nodes, row = np.empty(positions.shape[3] + 1, np.float32), np.empty((3, num_x), np.float32)
    u, v, w = row
    voxel = np.empty(num_x, np.int64)
    half = np.float32(0.5)
    flat = source.reshape(num_channels, -1)
    for z in range(result.shape[1]):
        for y in range(result.shape[2]):
            _positions_of_row(
                positions, step, z + start[0], y + start[1], cells, parts, lasts, nodes, row
            )
            for x in range(num_x):
                i, j, k = np.int32(u[x] + half), np.int32(v[x] + half), np.int32(w[x] + half)
                voxel[x] = (i * height + j) * width + k
            for channel in range(num_channels):
                values, target = flat[channel], result[channel, z, y]
                for x in range(num_x):
                    target[x] = values[voxel[x]]


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _warp_linear(source, positions, step, start, factor, result):  # type: ignore[no-untyped-def]
    num_channels, depth, height, width = source.shape
    num_x = result.shape[3]
    cells, parts = _cells_of_row(step, start[2], num_x)
    lasts = np.array([depth - 1, height - 1, width - 1], np.float32)
    nodes, row = np.empty(positions.shape[3] + 1, np.float32), np.empty((3, num_x), np.float32)
    u, v, w = row
    voxel = np.empty(num_x, np.int32)
    # Along an axis of one voxel, both neighbors are that voxel.
    to_i = np.uint32(height * width if depth > 1 else 0)
    to_j = np.uint32(width if height > 1 else 0)
    to_k = np.uint32(1 if width > 1 else 0)
    flat = source.reshape(num_channels, -1)
    for z in range(result.shape[1]):
        for y in range(result.shape[2]):
            _positions_of_row(
                positions, step, z + start[0], y + start[1], cells, parts, lasts, nodes, row
            )
            _first_neighbors(u, v, w, depth, height, width, voxel)
            for channel in range(num_channels):
                values, target = flat[channel], result[channel, z, y]
                for x in range(num_x):
                    at = np.uint32(voxel[x])
                    a = np.float32(values[at])
                    b = np.float32(values[at + to_j])
                    c = np.float32(values[at + to_i])
                    d = np.float32(values[at + to_i + to_j])
                    a += (np.float32(values[at + to_k]) - a) * w[x]
                    b += (np.float32(values[at + to_j + to_k]) - b) * w[x]
                    c += (np.float32(values[at + to_i + to_k]) - c) * w[x]
                    d += (np.float32(values[at + to_i + to_j + to_k]) - d) * w[x]
                    a += (b - a) * v[x]
                    c += (d - c) * v[x]
                    target[x] = (a + (c - a) * u[x]) * factor


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _warp_bytes(source, pairs, positions, step, start, factor, result):  # type: ignore[no-untyped-def]
    """Do as `_warp_linear`, bit for bit, two voxels at a time; every axis has more than one."""
    num_channels, depth, height, width = source.shape
    num_x = result.shape[3]
    cells, parts = _cells_of_row(step, start[2], num_x)
    lasts = np.array([depth - 1, height - 1, width - 1], np.float32)
    nodes, row = np.empty(positions.shape[3] + 1, np.float32), np.empty((3, num_x), np.float32)
    u, v, w = row
    voxel = np.empty(num_x, np.int32)
    to_i, to_j = np.uint32(height * width), np.uint32(width)
    p, q, r, s = np.empty((4, num_x), np.uint16)
    first, second = np.uint16(255), np.uint16(8)  # mask and shift: `_pairs` is little-endian
    for z in range(result.shape[1]):
        for y in range(result.shape[2]):
            _positions_of_row(
                positions, step, z + start[0], y + start[1], cells, parts, lasts, nodes, row
            )
            _first_neighbors(u, v, w, depth, height, width, voxel)
            for channel in range(num_channels):
                values, target = pairs[channel], result[channel, z, y]
                for x in range(num_x):
                    at = np.uint32(voxel[x])
                    p[x], q[x] = values[at], values[at + to_j]
                    r[x], s[x] = values[at + to_i], values[at + to_i + to_j]
                for x in range(num_x):
                    a = np.float32(p[x] & first)
                    b = np.float32(q[x] & first)
                    c = np.float32(r[x] & first)
                    d = np.float32(s[x] & first)
                    a += (np.float32(p[x] >> second) - a) * w[x]
                    b += (np.float32(q[x] >> second) - b) * w[x]
                    c += (np.float32(r[x] >> second) - c) * w[x]
                    d += (np.float32(s[x] >> second) - d) * w[x]
                    a += (b - a) * v[x]
                    c += (d - c) * v[x]
                    target[x] = (a + (c - a) * u[x]) * factor

"""Kernels that sample blocks at deformed positions. They release the GIL."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import numpy.typing as npt


def warp(
    source: npt.NDArray[Any],
    positions: npt.NDArray[np.float32],
    *,
    step: int,
    start: tuple[int, ...],
    shape: tuple[int, ...],
    interpolate: bool,
) -> npt.NDArray[Any]:
    """Values of `source` `[..., *source_shape]` at interpolated positions, `[..., *shape]`.

    Args:
        source: With two or three spatial axes, and any number of others before them.
        positions: Indices into the spatial axes of `source`, at the nodes of a coarse grid,
            `[axis, *grid]`; those outside of `source` are moved to its border.
        step: Voxels of the result between two nodes.
        start: Voxel of the grid at which the result begins; the grid covers all of the result.
        interpolate: Linearly, for floats; or take the nearest voxel, which keeps every bit.
    """
    num_axes = len(shape)
    flat = (1,) * (3 - num_axes)
    volumes = source.reshape(-1, *flat, *source.shape[-num_axes:])
    positions = np.concatenate([np.zeros((len(flat), *positions.shape[1:]), np.float32), positions])
    result = np.empty((len(volumes), *flat, *shape), source.dtype)
    kernel = _warp_linear if interpolate else _warp_nearest
    kernel(
        np.ascontiguousarray(volumes),
        positions.reshape(3, *flat, *positions.shape[1:]),
        step,
        np.array((0,) * len(flat) + start),
        result,
    )
    return result.reshape(*source.shape[:-num_axes], *shape)


@numba.njit(nogil=True, cache=True)
def _positions_along_row(positions, step, z, y, row):  # type: ignore[no-untyped-def]
    """Interpolate the grid at a voxel's z and y; x stays coarse: `row` is [3, nodes along x]."""
    z0, y0 = z // step, y // step
    z1, y1 = min(z0 + 1, positions.shape[1] - 1), min(y0 + 1, positions.shape[2] - 1)
    fz, fy = np.float32(z % step / step), np.float32(y % step / step)
    one = np.float32(1)
    for axis in range(3):
        for x in range(row.shape[1]):
            row[axis, x] = (
                (one - fz) * (one - fy) * positions[axis, z0, y0, x]
                + (one - fz) * fy * positions[axis, z0, y1, x]
                + fz * (one - fy) * positions[axis, z1, y0, x]
                + fz * fy * positions[axis, z1, y1, x]
            )


@numba.njit(nogil=True, cache=True)
def _within(position, length):  # type: ignore[no-untyped-def]
    return min(max(position, np.float32(0)), np.float32(length - 1))


@numba.njit(nogil=True, cache=True)
def _position(row, axis, x, step, length):  # type: ignore[no-untyped-def]
    x0 = x // step
    x1 = min(x0 + 1, row.shape[1] - 1)
    f = np.float32(x % step / step)
    return _within((np.float32(1) - f) * row[axis, x0] + f * row[axis, x1], length)


@numba.njit(nogil=True, cache=True)
def _warp_nearest(source, positions, step, start, result):  # type: ignore[no-untyped-def]
    row = np.empty((3, positions.shape[3]), np.float32)
    half = np.float32(0.5)
    for z in range(result.shape[1]):
        for y in range(result.shape[2]):
            _positions_along_row(positions, step, z + start[0], y + start[1], row)
            for x in range(result.shape[3]):
                i = int(_position(row, 0, x + start[2], step, source.shape[1]) + half)
                j = int(_position(row, 1, x + start[2], step, source.shape[2]) + half)
                k = int(_position(row, 2, x + start[2], step, source.shape[3]) + half)
                for channel in range(source.shape[0]):
                    result[channel, z, y, x] = source[channel, i, j, k]


@numba.njit(nogil=True, cache=True)
def _warp_linear(source, positions, step, start, result):  # type: ignore[no-untyped-def]
    row = np.empty((3, positions.shape[3]), np.float32)
    for z in range(result.shape[1]):
        for y in range(result.shape[2]):
            _positions_along_row(positions, step, z + start[0], y + start[1], row)
            for x in range(result.shape[3]):
                u = _position(row, 0, x + start[2], step, source.shape[1])
                v = _position(row, 1, x + start[2], step, source.shape[2])
                w = _position(row, 2, x + start[2], step, source.shape[3])
                i0, j0, k0 = int(u), int(v), int(w)
                i1 = min(i0 + 1, source.shape[1] - 1)
                j1 = min(j0 + 1, source.shape[2] - 1)
                k1 = min(k0 + 1, source.shape[3] - 1)
                u, v, w = u - np.float32(i0), v - np.float32(j0), w - np.float32(k0)
                for channel in range(source.shape[0]):
                    values = source[channel]
                    a = values[i0, j0, k0] + (values[i0, j0, k1] - values[i0, j0, k0]) * w
                    b = values[i0, j1, k0] + (values[i0, j1, k1] - values[i0, j1, k0]) * w
                    c = values[i1, j0, k0] + (values[i1, j0, k1] - values[i1, j0, k0]) * w
                    d = values[i1, j1, k0] + (values[i1, j1, k1] - values[i1, j1, k0]) * w
                    a, b = a + (b - a) * v, c + (d - c) * v
                    result[channel, z, y, x] = a + (b - a) * u

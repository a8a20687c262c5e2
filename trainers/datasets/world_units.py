"""Convert nm to world units, which are integers in gunpowder and funlib.geometry."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from trainers.datasets.array_info import ArrayInfo
from trainers.errors import DataError

_UNITS_PER_NM = (1, 10, 100, 1000)
_ROUNDING = 1e-5
"""Relative rounding of voxel sizes that have no end, such as 108.333333 nm."""
_TOLERANCE_VOXELS = 0.01


def units_per_nm(infos: Iterable[ArrayInfo]) -> int:
    """Return how many world units make a nm, so that every voxel size is a whole number of them.

    Raises:
        DataError: A voxel size has more than three decimals that count.
    """
    sizes_nm = sorted({size for info in infos for size in info.voxel_size_nm})
    for units in _UNITS_PER_NM:
        if all(round(size * units) >= 1 and _is_whole(size * units, 1e-6) for size in sizes_nm):
            return units
    finest = _UNITS_PER_NM[-1]
    if all(_is_whole(size * finest, _ROUNDING * size * finest) for size in sizes_nm):
        return finest
    raise DataError(
        f"found voxel sizes of {sizes_nm} nm; at most three decimals are possible; "
        "set `voxel_size_nm` to rounded values"
    )


def world_voxel_size(info: ArrayInfo, *, raw: ArrayInfo, units_per_nm: int) -> tuple[int, ...]:
    """Return the voxel size in world units; a multiple of raw's, if it is one but for rounding."""

    def in_world(size_nm: float) -> int:
        return round(size_nm * units_per_nm)

    return tuple(
        round(size / base) * in_world(base)
        if size >= base and math.isclose(size, round(size / base) * base, rel_tol=_ROUNDING)
        else in_world(size)
        for size, base in zip(info.voxel_size_nm, raw.voxel_size_nm, strict=True)
    )


def offset_voxels(info: ArrayInfo, *, origin: ArrayInfo) -> tuple[int, ...]:
    """Return where an array begins relative to `origin`, in voxels of the array.

    Raises:
        DataError: That is no whole number of voxels, within 1 % of a voxel.
    """
    offset = [
        (begin - zero) / size
        for begin, zero, size in zip(
            info.offset_nm, origin.offset_nm, info.voxel_size_nm, strict=True
        )
    ]
    if not all(_is_whole(voxels, _TOLERANCE_VOXELS) for voxels in offset):
        nearest = [
            round(zero + round(voxels) * size, 6)
            for zero, voxels, size in zip(origin.offset_nm, offset, info.voxel_size_nm, strict=True)
        ]
        raise DataError(
            f"begins at {list(info.offset_nm)} nm, which is {[round(each, 3) for each in offset]} "
            f"voxels from raw's {list(origin.offset_nm)} nm; it must be whole voxels away"
            f"{''.join(_centers(info, origin))}; the nearest such place is `offset_nm: {nearest}`, "
            "which moves the array; or resample it"
        )
    return tuple(round(voxels) for voxels in offset)


def _centers(info: ArrayInfo, origin: ArrayInfo) -> Iterator[str]:
    """Yield the advice for offsets that are centers of voxels, if that explains the distance."""
    for moved, whose in (
        ((info, origin), "of both arrays"),
        ((info,), "of this array"),
        ((origin,), "of raw"),
    ):
        corners = [
            [
                begin - (size / 2 if each in moved else 0.0)
                for begin, size in zip(each.offset_nm, each.voxel_size_nm, strict=True)
            ]
            for each in (info, origin)
        ]
        if all(
            _is_whole((begin - zero) / size, _TOLERANCE_VOXELS)
            for begin, zero, size in zip(*corners, info.voxel_size_nm, strict=True)
        ):
            yield (
                f". It is, if the offsets {whose} are centers of voxels, as OME-Zarr means them, "
                "and not lower corners: set `offset_is: center` there"
            )
            return


def _is_whole(value: float, tolerance: float) -> bool:
    return abs(value - round(value)) <= tolerance

"""Convert nm to world units, which are integers in gunpowder and funlib.geometry."""

from __future__ import annotations

from collections.abc import Iterable

from trainers.datasets.array_info import ArrayInfo
from trainers.errors import DataError

_UNITS_PER_NM = (1, 10, 100, 1000)
_TOLERANCE_VOXELS = 0.01


def units_per_nm(infos: Iterable[ArrayInfo]) -> int:
    """Return how many world units make a nm, so that every voxel size is a whole number of them.

    Raises:
        DataError: A voxel size has more than three decimals.
    """
    sizes_nm = sorted({size for info in infos for size in info.voxel_size_nm})
    for units in _UNITS_PER_NM:
        if all(round(size * units) >= 1 and _is_whole(size * units, 1e-6) for size in sizes_nm):
            return units
    raise DataError(
        f"found voxel sizes of {sizes_nm} nm; at most three decimals are possible; "
        "set `voxel_size_nm` to rounded values"
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
        raise DataError(
            f"begins at {list(info.offset_nm)} nm, which is {[round(each, 3) for each in offset]} "
            f"voxels from raw's {list(origin.offset_nm)} nm; it must be whole voxels away; "
            "set `offset_nm`, or resample it"
        )
    return tuple(round(voxels) for voxels in offset)


def _is_whole(value: float, tolerance: float) -> bool:
    return abs(value - round(value)) <= tolerance

"""Where the voxels of an array are: as its config says, or else its files."""

from __future__ import annotations

import math

from trainers.datasets.dataset_config import ArrayConfig
from trainers.datasets.formats.stored_array import Grid, NotUnderstood, Values, nm_per
from trainers.errors import DataError


def refuse_malformed(config: ArrayConfig, grid: Grid) -> None:
    """Raise a DataError if the files do not say what the config leaves to them."""
    parts: tuple[tuple[str, object, Values], ...] = (
        ("voxel_size_nm", config.voxel_size_nm, grid.scale),
        ("offset_nm", config.offset_nm, grid.translation),
    )
    problems = {
        key: part.problem
        for key, given, part in parts
        if given is None and isinstance(part, NotUnderstood)
    }
    if problems:
        raise DataError(
            f"its metadata are not understood: {'; '.join(dict.fromkeys(problems.values()))}; "
            f"set {' and '.join(f'`{key}`' for key in problems)}"
        )


def read_voxel_size_nm(
    config: ArrayConfig, grid: Grid, spatial: tuple[str, ...]
) -> tuple[float, ...]:
    """Return the voxel size along the spatial axes; raise a DataError if it is not known."""
    if config.voxel_size_nm is not None:
        return _for_axes(config.voxel_size_nm, "voxel_size_nm", spatial)
    if grid.scale is None or isinstance(grid.scale, NotUnderstood):
        raise DataError("its files do not give the voxel size; set `voxel_size_nm`")
    voxel_size = _in_nm(grid.scale, "voxel_size_nm", grid, spatial)
    if min(voxel_size) <= 0:
        raise DataError(
            f"its files give a voxel size of {list(voxel_size)} nm; it must be more than 0; "
            "set `voxel_size_nm`"
        )
    return voxel_size


def read_offset_nm(
    config: ArrayConfig,
    grid: Grid,
    spatial: tuple[str, ...],
    voxel_size_nm: tuple[float, ...],
) -> tuple[float, ...]:
    """Return the lower corner of the first voxel."""
    translation = grid.translation
    if config.offset_nm is not None:
        offset = _for_axes(config.offset_nm, "offset_nm", spatial)
    else:
        if config.offset_is is None and grid.corner is not None:
            translation = grid.corner
        if translation is None or isinstance(translation, NotUnderstood) or not any(translation):
            offset = (0.0,) * len(spatial)
        else:
            offset = _in_nm(translation, "offset_nm", grid, spatial)
    if config.offset_is != "center":
        return offset
    return tuple(
        round(center - size / 2, 6) for center, size in zip(offset, voxel_size_nm, strict=True)
    )


def _for_axes(values: tuple[float, ...], key: str, spatial: tuple[str, ...]) -> tuple[float, ...]:
    if len(values) != len(spatial):
        raise DataError(
            f"`{key}` is {list(values)}; expected {len(spatial)} values: {', '.join(spatial)}"
        )
    return values


def _in_nm(
    values: tuple[float, ...], key: str, grid: Grid, spatial: tuple[str, ...]
) -> tuple[float, ...]:
    """Convert to nm; rounded to 1e-6 nm, since conversion leaves 5.239999999999999 for 5.24."""
    by_axis = dict(zip(grid.axes, zip(values, grid.units, strict=True), strict=True))
    converted = []
    for value, unit in (by_axis[axis] for axis in spatial):
        factor = nm_per(unit or "")
        if factor is None or not math.isfinite(value):
            raise DataError(
                f"its files give {list(values)} in the units {list(grid.units)}; expected finite "
                f"numbers in a unit of length; set `{key}`"
            )
        converted.append(round(value * factor, 6))
    return tuple(converted)

"""Metadata of N5 arrays. N5 lists dimensions with x first (Fortran order)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from trainers.datasets.formats.stored_array import Grid, StoredArray, axis_name, read_json
from trainers.datasets.remote_path import VolumePath


def is_n5_array(folder: VolumePath) -> bool:
    """Return whether a folder holds an N5 array; groups have no `dimensions`."""
    return "dimensions" in _attributes(folder)


def read_n5_array(folder: VolumePath) -> StoredArray:
    """Read the metadata of the array in a folder.

    The grid is `transform`, as COSEM writes it. Otherwise the voxel size is `pixelResolution`
    (n5-viewer) or `resolution` (funlib; in nm without `units`) times `downsamplingFactors`, which
    may also be in the parent folder, and the offset is `offset`. Without `axes` they are the first
    of x, y, z, c.
    """
    attributes = _attributes(folder)
    shape = tuple(map(int, attributes["dimensions"]))
    axes = tuple(axis_name(name) for name in attributes.get("axes", "xyzc"[: len(shape)]))
    if "transform" in attributes:
        grid = _cosem_grid(axes, attributes["transform"])
    else:
        grid = _grid(axes, attributes, _attributes(folder.parent), folder.name)
    return StoredArray(driver="n5", shape=shape, dtype=str(attributes["dataType"]), grid=grid)


def _attributes(folder: VolumePath) -> dict[str, Any]:
    path = folder / "attributes.json"
    return read_json(path) if path.is_file() else {}


def _cosem_grid(axes: tuple[str, ...], transform: Mapping[str, Any]) -> Grid:
    """Read a COSEM `transform`, which lists its own axes, mostly z first, unlike N5 itself."""
    order = [transform["axes"].index(axis) for axis in axes]
    return Grid.from_lists(
        axes,
        scale=[transform["scale"][i] for i in order],
        translation=[transform["translate"][i] for i in order],
        units=[transform["units"][i] for i in order],
    )


def _grid(
    axes: tuple[str, ...], attributes: Mapping[str, Any], parent: Mapping[str, Any], level: str
) -> Grid:
    scale, units = _resolution(attributes)
    factors = attributes.get("downsamplingFactors")
    if scale is None:
        scale, units = _resolution(parent)
        factors = factors or _factors_of_level(parent, level)
    if scale is not None and factors is not None:
        scale = [size * factor for size, factor in zip(scale, factors, strict=True)]
    return Grid.from_lists(axes, scale=scale, translation=attributes.get("offset"), units=units)


def _resolution(attributes: Mapping[str, Any]) -> tuple[Sequence[float] | None, Any]:
    """Return voxel size, and one unit for all axes or one each."""
    match attributes.get("pixelResolution"):
        case None:
            return attributes.get("resolution"), attributes.get("units", "nm")
        case {"dimensions": sizes, "unit": unit}:
            return sizes, unit
        case sizes:
            return sizes, None


def _factors_of_level(parent: Mapping[str, Any], level: str) -> Sequence[float] | None:
    """Return the factors of a level: for `s2`, the third of the pyramid in the parent folder."""
    levels = parent.get("downsamplingFactors", parent.get("scales"))
    match = re.fullmatch(r"s(\d+)", level)
    return levels[int(match[1])] if levels and match else None

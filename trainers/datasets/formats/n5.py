"""Metadata of N5 arrays. N5 lists dimensions with x first."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from trainers.datasets.formats.stored_array import Grid, StoredArray, axis_name, read_json
from trainers.datasets.remote_path import VolumePath


def is_n5_array(folder: VolumePath) -> bool:
    return "dimensions" in _attributes(folder)


def read_n5_array(folder: VolumePath) -> StoredArray:
    """The array in a folder.

    The grid is `transform` (COSEM). Without it, the voxel size is `pixelResolution` (n5-viewer) or
    `resolution` (funlib; without `units` in nm) times `downsamplingFactors`, which may also stand
    in the folder above, and the place is `offset`. Without `axes` they are the first of x, y, z, c.
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
    """COSEM lists the axes in an order of its own, mostly with z first."""
    order = [transform["axes"].index(axis) for axis in axes]
    return Grid.from_lists(
        axes,
        scale=[transform["scale"][i] for i in order],
        translation=[transform["translate"][i] for i in order],
        units=[transform["units"][i] for i in order],
    )


def _grid(
    axes: tuple[str, ...], attributes: Mapping[str, Any], above: Mapping[str, Any], level: str
) -> Grid:
    scale, units = _resolution(attributes)
    factors = attributes.get("downsamplingFactors")
    if scale is None:
        scale, units = _resolution(above)
        factors = factors or _factors_of_level(above, level)
    if scale is not None and factors is not None:
        scale = [size * factor for size, factor in zip(scale, factors, strict=True)]
    return Grid.from_lists(axes, scale=scale, translation=attributes.get("offset"), units=units)


def _resolution(attributes: Mapping[str, Any]) -> tuple[Sequence[float] | None, Any]:
    """Voxel size and unit or units."""
    match attributes.get("pixelResolution"):
        case None:
            return attributes.get("resolution"), attributes.get("units", "nm")
        case {"dimensions": sizes, "unit": unit}:
            return sizes, unit
        case sizes:
            return sizes, None


def _factors_of_level(above: Mapping[str, Any], level: str) -> Sequence[float] | None:
    """The factors of level `s2` are the third ones of the pyramid in the folder above."""
    levels = above.get("downsamplingFactors", above.get("scales"))
    match = re.fullmatch(r"s(\d+)", level)
    return levels[int(match[1])] if levels and match else None

"""Metadata of N5 arrays. N5 lists dimensions with x first (Fortran order)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from trainers.datasets.formats.stored_array import (
    Grid,
    NotUnderstood,
    StoredArray,
    axis_names,
    corner_of_level,
    cosem_grid,
    read_json,
    understood,
)
from trainers.datasets.remote_path import VolumePath
from trainers.errors import DataError

_LEVEL = re.compile(r"s(\d+)")
_COMPRESSIONS = {
    "raw": (),
    "gzip": ("level", "useZlib"),
    "bzip2": ("blockSize",),
    "xz": ("preset",),
    "blosc": ("cname", "clevel", "shuffle", "blocksize"),
    "zstd": ("level",),
}
"""The compressions that TensorStore reads, and the members that it knows."""


def is_n5_array(folder: VolumePath) -> bool:
    """Return whether a folder holds an N5 array; groups have no `dimensions`."""
    return "dimensions" in _attributes(folder)


def read_n5_array(folder: VolumePath) -> StoredArray:
    """Read the metadata of the array in a folder.

    The grid is `transform`, as COSEM writes it. Otherwise the voxel size is `pixelResolution`
    (n5-viewer) or `resolution` (funlib; in nm without `units`) times `downsamplingFactors`, which
    may also be in the parent folder, and the offset is `offset`. Without `axes` they are the first
    of x, y, z, c.

    Raises:
        DataError: It holds label multisets.
    """
    attributes = _attributes(folder)
    if attributes.get("isLabelMultiset"):
        raise DataError(
            f"{folder}: holds label multisets of Paintera; must hold a number per voxel; export "
            "the labels as uint64"
        )
    shape = tuple(map(int, attributes["dimensions"]))
    return StoredArray(
        driver="n5",
        shape=shape,
        dtype=str(attributes["dataType"]),
        metadata=_readable(attributes),
        read_grid=lambda: _read_grid(folder, attributes, len(shape)),
    )


def n5_levels(folder: VolumePath) -> list[str]:
    """Return the names of the levels of the pyramid in a group, from the finest one; [] if none."""
    attributes = _attributes(folder)
    if paths := [level["path"].strip("/") for level in _cosem_levels(attributes)]:
        return paths
    factors = attributes.get("downsamplingFactors", attributes.get("scales"))
    return [f"s{level}" for level in range(len(factors))] if isinstance(factors, list) else []


def _attributes(folder: VolumePath) -> dict[str, Any]:
    path = folder / "attributes.json"
    return read_json(path) if path.is_file() else {}


def _readable(attributes: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return what TensorStore is to take for the attributes; None: it reads them as they are."""
    compression = attributes.get("compression")
    if compression is None and "compressionType" in attributes:  # as before N5 2.0
        compression = {"type": attributes["compressionType"]}
    kept = compression
    if isinstance(compression, Mapping):
        known = _COMPRESSIONS.get(str(compression.get("type")), tuple(compression))
        kept = {key: compression[key] for key in compression if key in ("type", *known)}
    if kept == attributes.get("compression"):
        return None
    needed = {key: attributes[key] for key in ("dimensions", "blockSize", "dataType")}
    return {**needed, "compression": kept}


def _read_grid(folder: VolumePath, attributes: Mapping[str, Any], ndim: int) -> Grid:
    default = "xyzc"[:ndim]
    axes = axis_names(attributes.get("axes"), default) or tuple(default)
    parent = understood(lambda: _attributes(folder.parent))
    above: Mapping[str, Any] = {} if isinstance(parent, NotUnderstood) else parent
    levels = {level["path"].strip("/"): level.get("transform") for level in _cosem_levels(above)}
    transform = attributes.get("transform") or levels.get(folder.name)
    if transform is not None:
        grid = cosem_grid(axes, transform)
        first = next(iter(levels.values()), None)
        if first is None:
            sibling = understood(lambda: _attributes(folder.parent / "s0"))
            first = None if isinstance(sibling, NotUnderstood) else sibling.get("transform")
        corner = None if first is None else corner_of_level(grid, cosem_grid(axes, first))
        return attrs.evolve(grid, corner=corner)
    scale = understood(lambda: _scale(attributes, above, folder.name))
    if isinstance(scale, NotUnderstood):
        return Grid.not_understood(axes, scale)
    size, units = scale
    if size is None and isinstance(parent, NotUnderstood):
        return Grid.not_understood(axes, parent)
    return Grid.from_lists(axes, scale=size, translation=attributes.get("offset"), units=units)


def _cosem_levels(attributes: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    images = attributes.get("multiscales")
    image = images[0] if isinstance(images, list) and images else None
    levels = image.get("datasets") if isinstance(image, Mapping) else None
    return [
        level
        for level in (levels if isinstance(levels, list) else [])
        if isinstance(level, Mapping) and isinstance(level.get("path"), str)
    ]


def _scale(attributes: Mapping[str, Any], parent: Mapping[str, Any], level: str) -> tuple[Any, Any]:
    """Return voxel size and units of an array or of the pyramid that it is a level of."""
    scale, units = _resolution(attributes)
    factors = attributes.get("downsamplingFactors")
    if scale is None:
        scale, units = _resolution(parent)
        factors = factors or _factors_of_level(parent, level)
    if scale is not None and factors is not None:
        scale = [size * factor for size, factor in zip(scale, factors, strict=True)]
    return scale, units


def _resolution(attributes: Mapping[str, Any]) -> tuple[Any, Any]:
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
    match = _LEVEL.fullmatch(level)
    return levels[int(match[1])] if levels and match else None

"""Metadata of zarr 2 and zarr 3 arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from trainers.datasets.formats.ome_image import ome_grid, zarr_attributes
from trainers.datasets.formats.stored_array import (
    Grid,
    NotUnderstood,
    StoredArray,
    axis_names,
    cosem_grid,
    read_json,
    understood,
)
from trainers.datasets.formats.zarr_codecs import readable_zarr2, readable_zarr3
from trainers.datasets.remote_path import VolumePath

_LAST_AXES = ("t", "c", "z", "y", "x")
_NOT_READ_EARLIER = ("_ARRAY_DIMENSIONS", "transform")
"""Attributes that the first versions did not read."""
_ZARR2_KINDS = {"u": "uint", "i": "int", "f": "float"}


def is_zarr_array(folder: VolumePath) -> bool:
    """Return whether a folder holds a zarr 2 or zarr 3 array, and not a group."""
    if (folder / ".zarray").is_file():
        return True
    path = folder / "zarr.json"
    return path.is_file() and read_json(path).get("node_type") == "array"


def read_zarr_array(folder: VolumePath, *, as_earlier: bool = False) -> StoredArray:
    """Read the metadata of the array in a folder.

    Voxel size and offset come from the OME-Zarr image that the array is a level of, or else from
    its own attributes: `transform`, as COSEM writes it, or `voxel_size` or `resolution`, `offset`
    and `units` (nm by default), as funlib and DaCapo write them. Axes are named by the image, by
    `axis_names` (funlib), `_ARRAY_DIMENSIONS` (xarray) or the dimensions of zarr 3; without names
    they are the last of t, c, z, y, x. Names of xarray and COSEM of which none is known, such as
    plane, row, col, count as none.

    Args:
        as_earlier: Read neither `_ARRAY_DIMENSIONS` nor `transform` of the array.
    """
    if (folder / ".zarray").is_file():
        metadata = read_json(folder / ".zarray")
        driver, dtype, names = "zarr", _zarr2_dtype(metadata["dtype"]), None
        readable = readable_zarr2(metadata, is_nested=_is_nested(folder))
    else:
        metadata = read_json(folder / "zarr.json")
        driver, dtype = "zarr3", str(metadata["data_type"])
        names = metadata.get("dimension_names")
        readable = readable_zarr3(metadata)
    shape = tuple(map(int, metadata["shape"]))
    default = _LAST_AXES[-len(shape) :]
    return StoredArray(
        driver=driver,
        shape=shape,
        dtype=dtype,
        metadata=readable,
        read_grid=lambda: _read_grid(
            folder, axis_names(names, default), default, as_earlier=as_earlier
        ),
    )


def _is_nested(folder: VolumePath) -> bool:
    """Return whether chunks lie in folders: those of index 0 along the first axis in `0`."""
    return isinstance(folder, Path) and (folder / "0").is_dir()


def _read_grid(
    folder: VolumePath,
    named: tuple[str, ...] | None,
    default: Sequence[str],
    *,
    as_earlier: bool,
) -> Grid:
    attributes = understood(lambda: zarr_attributes(folder) or {})
    if as_earlier and isinstance(attributes, dict):
        attributes = {key: attributes[key] for key in attributes if key not in _NOT_READ_EARLIER}
    if isinstance(attributes, NotUnderstood):
        own = Grid.not_understood(named or tuple(default), attributes)
    else:
        own = _attributes_grid(attributes, named, default)
    image = ome_grid(folder, own.axes)
    if image is None:
        return own
    if image.scale is None:  # as before OME-Zarr 0.4
        return attrs.evolve(own, axes=image.axes)
    return image


def _attributes_grid(
    attributes: Mapping[str, Any], named: tuple[str, ...] | None, default: Sequence[str]
) -> Grid:
    named = (
        axis_names(attributes.get("axis_names"), default)
        or _known_names(attributes.get("_ARRAY_DIMENSIONS"), default)
        or named
    )
    transform = attributes.get("transform")
    if isinstance(transform, Mapping) and "axes" in transform:
        named = named or _known_names(transform["axes"], default)
        return cosem_grid(named or tuple(default), transform)
    return Grid.from_lists(
        named or tuple(default),
        scale=attributes.get("voxel_size", attributes.get("resolution")),
        translation=attributes.get("offset"),
        units=attributes.get("units", "nm"),
    )


def _known_names(names: Any, default: Sequence[str]) -> tuple[str, ...] | None:
    """Return the names of axes; None if none of them is known."""
    found = axis_names(names, default)
    return found if found and not set(found).isdisjoint(_LAST_AXES) else None


def _zarr2_dtype(name: Any) -> str:
    """Return NumPy's name of a zarr 2 dtype such as `<u2`, or the text itself if it is unknown."""
    text = str(name)
    if text == "|b1":
        return "bool"
    kind, size = text[1:2], text[2:]
    return f"{_ZARR2_KINDS[kind]}{8 * int(size)}" if kind in _ZARR2_KINDS else text

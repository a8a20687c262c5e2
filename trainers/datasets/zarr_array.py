"""Metadata of zarr 2 and zarr 3 arrays."""

from __future__ import annotations

from typing import Any

from trainers.datasets.json_file import read_json
from trainers.datasets.ome_grid import ome_grid
from trainers.datasets.remote_path import VolumePath
from trainers.datasets.stored_array import Grid, StoredArray, axis_name
from trainers.datasets.zarr_attributes import zarr_attributes

_LAST_AXES = "tczyx"
_ZARR2_KINDS = {"u": "uint", "i": "int", "f": "float"}


def is_zarr_array(folder: VolumePath) -> bool:
    if (folder / ".zarray").is_file():
        return True
    path = folder / "zarr.json"
    return path.is_file() and read_json(path).get("node_type") == "array"


def read_zarr_array(folder: VolumePath) -> StoredArray:
    """The array in a folder.

    Voxel size and place come from the OME-Zarr image that it is a level of, else from its own
    attributes: `voxel_size` or `resolution`, `offset`, `units` (without: nm) and `axis_names`, as
    funlib and DaCapo write them. Axes without names are the last ones of t, c, z, y, x.
    """
    if (folder / ".zarray").is_file():
        metadata = read_json(folder / ".zarray")
        driver, dtype, names = "zarr", _zarr2_dtype(metadata["dtype"]), None
    else:
        metadata = read_json(folder / "zarr.json")
        driver, dtype = "zarr3", str(metadata["data_type"])
        names = metadata.get("dimension_names")
    shape = tuple(map(int, metadata["shape"]))
    return StoredArray(
        driver=driver,
        shape=shape,
        dtype=dtype,
        grid=ome_grid(folder) or _grid(folder, names or _LAST_AXES[-len(shape) :]),
    )


def _zarr2_dtype(name: Any) -> str:
    text = str(name)
    if text == "|b1":
        return "bool"
    kind, size = text[1:2], text[2:]
    return f"{_ZARR2_KINDS[kind]}{8 * int(size)}" if kind in _ZARR2_KINDS else text


def _grid(folder: VolumePath, default_axes: list[str] | str) -> Grid:
    attributes = zarr_attributes(folder) or {}
    return Grid.from_lists(
        tuple(axis_name(name) for name in attributes.get("axis_names", default_axes)),
        scale=attributes.get("voxel_size", attributes.get("resolution")),
        translation=attributes.get("offset"),
        units=attributes.get("units", "nm"),
    )

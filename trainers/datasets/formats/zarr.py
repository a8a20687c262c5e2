"""Metadata of zarr 2 and zarr 3 arrays, and of the OME-Zarr images that they are levels of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trainers.datasets.formats.stored_array import Grid, StoredArray, axis_name, read_json
from trainers.datasets.remote_path import VolumePath

_LAST_AXES = "tczyx"
_ZARR2_KINDS = {"u": "uint", "i": "int", "f": "float"}


def is_zarr_array(folder: VolumePath) -> bool:
    """Return whether a folder holds a zarr 2 or zarr 3 array, and not a group."""
    if (folder / ".zarray").is_file():
        return True
    path = folder / "zarr.json"
    return path.is_file() and read_json(path).get("node_type") == "array"


def read_zarr_array(folder: VolumePath) -> StoredArray:
    """Read the metadata of the array in a folder.

    Voxel size and offset come from the OME-Zarr image that the array is a level of, or else from
    its own attributes: `voxel_size` or `resolution`, `offset`, `units` (nm by default) and
    `axis_names`, as funlib and DaCapo write them. Axes without names are the last of t, c, z, y, x.
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
        grid=ome_grid(folder) or _attributes_grid(folder, names or _LAST_AXES[-len(shape) :]),
    )


def zarr_attributes(folder: VolumePath) -> dict[str, Any] | None:
    """Read the attributes of a zarr 2 or zarr 3 group or array; None if the folder is neither."""
    if (folder / "zarr.json").is_file():
        attributes: dict[str, Any] = read_json(folder / "zarr.json").get("attributes", {})
        return attributes
    if (folder / ".zattrs").is_file():
        return read_json(folder / ".zattrs")
    return {} if (folder / ".zgroup").is_file() or (folder / ".zarray").is_file() else None


def ome_grid(folder: VolumePath) -> Grid | None:
    """Return the grid that the OME-Zarr image of an array gives; None if it is in no image."""
    for group in folder.parents:
        attributes = zarr_attributes(group)
        if attributes is None:
            return None
        for image in attributes.get("ome", attributes).get("multiscales", []):
            for level in image["datasets"]:
                if group / level["path"] == folder:
                    return _level_grid(image, level)
    return None


def _level_grid(image: Mapping[str, Any], level: Mapping[str, Any]) -> Grid:
    """Compose the transformations of a level, then those of the image, as OME-Zarr says."""
    axes = tuple(axis_name(axis["name"]) for axis in image["axes"])
    scale, translation = [1.0] * len(axes), [0.0] * len(axes)
    steps = [
        *level["coordinateTransformations"],
        *image.get("coordinateTransformations", []),
    ]
    for step in steps:
        match step:
            case {"type": "identity"}:
                pass
            case {"type": "scale", "scale": [*factors]} if len(factors) == len(axes):
                scale = [a * b for a, b in zip(scale, factors, strict=True)]
                translation = [a * b for a, b in zip(translation, factors, strict=True)]
            case {"type": "translation", "translation": [*shifts]} if len(shifts) == len(axes):
                translation = [a + b for a, b in zip(translation, shifts, strict=True)]
            case _:
                raise ValueError(
                    f"found the coordinate transformation {step} for the axes {', '.join(axes)}; "
                    "only scale and translation with a value for each axis are understood"
                )
    units = [axis.get("unit") for axis in image["axes"]]
    return Grid.from_lists(axes, scale=scale, translation=translation, units=units)


def _zarr2_dtype(name: Any) -> str:
    """Return NumPy's name of a zarr 2 dtype such as `<u2`, or the text itself if it is unknown."""
    text = str(name)
    if text == "|b1":
        return "bool"
    kind, size = text[1:2], text[2:]
    return f"{_ZARR2_KINDS[kind]}{8 * int(size)}" if kind in _ZARR2_KINDS else text


def _attributes_grid(folder: VolumePath, default_axes: list[str] | str) -> Grid:
    attributes = zarr_attributes(folder) or {}
    return Grid.from_lists(
        tuple(axis_name(name) for name in attributes.get("axis_names", default_axes)),
        scale=attributes.get("voxel_size", attributes.get("resolution")),
        translation=attributes.get("offset"),
        units=attributes.get("units", "nm"),
    )

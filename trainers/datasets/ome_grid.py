"""Voxel sizes and places in OME-Zarr images, versions 0.4 and 0.5."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trainers.datasets.remote_path import VolumePath
from trainers.datasets.stored_array import Grid, axis_name
from trainers.datasets.zarr_attributes import zarr_attributes


def ome_grid(folder: VolumePath) -> Grid | None:
    """The grid of an array as the image says that it is a level of; None if it is in none."""
    for group in folder.parents:
        attributes = zarr_attributes(group)
        if attributes is None:
            return None
        for image in attributes.get("ome", attributes).get("multiscales", []):
            for level in image["datasets"]:
                if group / level["path"] == folder:
                    return _grid(image, level)
    return None


def _grid(image: Mapping[str, Any], level: Mapping[str, Any]) -> Grid:
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

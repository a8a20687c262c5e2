"""Multiscale images in zarr: OME-Zarr 0.1 to 0.5, and the pyramids of COSEM."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs

from trainers.datasets.formats.stored_array import (
    Grid,
    NotUnderstood,
    axis_names,
    corner_of_level,
    cosem_grid,
    read_json,
    understood,
)
from trainers.datasets.remote_path import VolumePath

Level = Mapping[str, Any]


def zarr_attributes(folder: VolumePath) -> dict[str, Any] | None:
    """Read the attributes of a zarr 2 or zarr 3 group or array; None if the folder is neither."""
    if (folder / "zarr.json").is_file():
        attributes = read_json(folder / "zarr.json").get("attributes")
        return attributes if isinstance(attributes, dict) else {}
    if (folder / ".zattrs").is_file():
        return read_json(folder / ".zattrs")
    return {} if (folder / ".zgroup").is_file() or (folder / ".zarray").is_file() else None


def image_levels(folder: VolumePath) -> list[str]:
    """Return the paths of the levels of the image in a group, from the finest one; [] if none."""
    attributes = zarr_attributes(folder) or {}
    return next(([_path(level) for level in levels] for _, levels in _images(attributes)), [])


def ome_grid(folder: VolumePath, default_axes: Sequence[str]) -> Grid | None:
    """Return the grid that the image of an array gives; None if the array is in no image."""
    for group in folder.parents:
        attributes = understood(lambda group=group: zarr_attributes(group))  # type: ignore[misc]
        if attributes is None:
            return None
        if isinstance(attributes, NotUnderstood):
            return Grid.not_understood(tuple(default_axes), attributes)
        for image, levels in _images(attributes):
            for level in levels:
                if group / _path(level) == folder:
                    grid = _level_grid(image, level, default_axes)
                    first = _level_grid(image, levels[0], default_axes)
                    return attrs.evolve(grid, corner=corner_of_level(grid, first))
    return None


def _images(attributes: Mapping[str, Any]) -> Iterator[tuple[Mapping[str, Any], list[Level]]]:
    """Yield images and their levels; what is malformed is left out."""
    ome = attributes.get("ome")
    images = (ome if isinstance(ome, Mapping) else attributes).get("multiscales")
    for image in images if isinstance(images, list) else []:
        levels = image.get("datasets") if isinstance(image, Mapping) else None
        found = [
            level
            for level in (levels if isinstance(levels, list) else [])
            if isinstance(level, Mapping) and isinstance(level.get("path"), str)
        ]
        if found:
            yield image, found


def _path(level: Level) -> str:
    path: str = level["path"]
    return path.removeprefix("./").strip("/")


def _level_grid(image: Mapping[str, Any], level: Level, default_axes: Sequence[str]) -> Grid:
    """Compose the transformations of a level, then those of the image, as OME-Zarr says."""
    named = axis_names(image.get("axes"), default_axes)
    axes = named or tuple(default_axes)
    if "transform" in level:
        transform = level["transform"]
        given = transform.get("axes") if isinstance(transform, Mapping) else None
        return cosem_grid(named or axis_names(given, default_axes) or axes, transform)
    steps = understood(lambda: _steps(image, level))
    if isinstance(steps, NotUnderstood):
        return Grid.not_understood(axes, steps)
    if not steps:  # as before OME-Zarr 0.4
        return Grid.from_lists(axes)
    composed = understood(lambda: _composed(steps, axes))
    if isinstance(composed, NotUnderstood):
        return Grid.not_understood(axes, composed)
    scale, translation = composed
    return Grid.from_lists(axes, scale=scale, translation=translation, units=_units(image))


def _units(image: Mapping[str, Any]) -> list[Any] | None:
    axes = image.get("axes")
    if not isinstance(axes, list):
        return None
    return [axis.get("unit") if isinstance(axis, Mapping) else None for axis in axes]


def _steps(image: Mapping[str, Any], level: Level) -> list[Any]:
    return [
        *(level.get("coordinateTransformations") or []),
        *(image.get("coordinateTransformations") or []),
    ]


def _composed(steps: Sequence[Any], axes: Sequence[str]) -> tuple[list[float], list[float]]:
    scale, translation = [1.0] * len(axes), [0.0] * len(axes)
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
    return scale, translation

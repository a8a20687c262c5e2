"""Metadata of neuroglancer precomputed volumes. They list dimensions with x first, in nm."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trainers.config_faults import not_one_of
from trainers.datasets.formats.stored_array import (
    Grid,
    NotUnderstood,
    StoredArray,
    read_json,
    understood,
)
from trainers.datasets.remote_path import VolumePath
from trainers.errors import DataError

_AXES = ("x", "y", "z", "c")
_COMPRESSED = {".gz": "gunzip --recursive", ".br": "brotli --decompress --rm"}
"""Endings of chunk files that CloudVolume compresses, and what undoes it."""


def is_precomputed_volume(folder: VolumePath) -> bool:
    return (folder / "info").is_file()


def precomputed_scales(folder: VolumePath) -> dict[str, tuple[float, ...] | None]:
    """Return the voxel size of each scale in nm, in z, y, x order, by its key, the finest first.

    None where it is not understood.
    """
    scales = {}
    for level in read_json(folder / "info")["scales"]:
        found = understood(lambda level=level: tuple(map(float, level["resolution"][::-1])))  # type: ignore[misc]
        scales[str(level["key"])] = None if isinstance(found, NotUnderstood) else found
    return scales


def read_precomputed_array(folder: VolumePath, scale: str) -> StoredArray:
    """Read the metadata of one scale of the volume in a folder.

    Args:
        scale: Its key or its index; "" is the first one, at full resolution.

    Raises:
        DataError: There is no such scale, or its chunks are compressed files.
    """
    info = read_json(folder / "info")
    index = _scale_index(folder, [str(each["key"]) for each in info["scales"]], scale)
    level = info["scales"][index]
    if isinstance(folder, Path):
        _refuse_compressed_files(folder / str(level["key"]))
    return StoredArray(
        driver="neuroglancer_precomputed",
        scale_index=index,
        shape=(*map(int, level["size"]), int(info["num_channels"])),
        dtype=str(info["data_type"]),
        read_grid=lambda: _read_grid(level),
    )


def _read_grid(level: Mapping[str, Any]) -> Grid:
    resolution: Any = level.get("resolution")
    voxel_offset: Any = level.get("voxel_offset", [0, 0, 0])
    translation = understood(
        lambda: [a * b for a, b in zip(voxel_offset, resolution, strict=True)]  # voxels to nm
    )
    if isinstance(translation, NotUnderstood):
        return Grid.not_understood(_AXES, translation)
    return Grid.from_lists(_AXES, scale=resolution, translation=translation, units="nm")


def _refuse_compressed_files(folder: Path) -> None:
    try:
        with os.scandir(folder) as entries:  # not a listing: there may be millions
            name = next((entry.name for entry in entries if entry.is_file()), "")
    except OSError:
        return  # reading the voxels reports that
    for ending, command in _COMPRESSED.items():
        if name.endswith(ending):
            what = str(folder) if ending == ".gz" else f"{folder}/*{ending}"
            raise DataError(
                f"{folder}: its chunks are compressed files, such as {name}; TensorStore reads "
                f"them without {ending} only; decompress them: {command} {what}"
            )


def _scale_index(folder: VolumePath, keys: list[str], scale: str) -> int:
    if scale in keys:
        return keys.index(scale)
    if scale == "":
        return 0
    if scale.isdecimal() and int(scale) < len(keys):
        return int(scale)
    raise DataError(f"{folder}: `array` is none of the volume's scales: {not_one_of(scale, keys)}")

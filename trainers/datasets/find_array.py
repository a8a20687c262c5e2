"""Find the array that a config names: in a container, at a level of an image, or not at all."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import attrs
from attrs import frozen

from trainers.config_faults import not_one_of
from trainers.datasets.dataset_config import ArrayConfig
from trainers.datasets.formats.n5 import is_n5_array, n5_levels
from trainers.datasets.formats.ome_image import image_levels
from trainers.datasets.formats.precomputed import is_precomputed_volume, precomputed_scales
from trainers.datasets.formats.stored_array import same_size
from trainers.datasets.formats.zarr import is_zarr_array
from trainers.datasets.remedies import refuse_file
from trainers.datasets.remote_path import RemotePath, VolumePath
from trainers.errors import DataError, DataUnavailableError

VoxelSize = tuple[float, ...]

_MAX_FOLDERS = 1000
_VARIABLE = re.compile(r"\$\{?\w+\}?")


@frozen
class FoundArray:
    """Where an array is, and in which format."""

    format: Literal["zarr", "n5", "precomputed"]
    folder: VolumePath
    """Of the array; of the volume, if it is precomputed."""
    name: str = ""
    """Key or index of the scale of a precomputed volume."""


def find_array(
    config: ArrayConfig, voxel_size: Callable[[ArrayConfig], VoxelSize | None]
) -> FoundArray:
    """Find an array; of an image of several scales, the level that the config chooses.

    Args:
        voxel_size: Returns the voxel size of a level as its files give it, or None.

    Raises:
        DataUnavailableError: There is nothing.
        DataError: There is something else.
    """
    folder = config.path / config.array
    if is_precomputed_volume(config.path):
        if config.scale is not None and config.array:
            raise DataError(
                f"{config.path}: `array` and `scale` both choose a scale; found {config.array!r} "
                f"and {config.scale}; remove one of them"
            )
        return FoundArray("precomputed", config.path, _choose_scale(config))
    found = _in_folder(folder)
    if found is not None:
        if config.scale is not None:
            raise DataError(
                f"{folder}: `scale` is {config.scale}, and this is a single array; remove `scale`, "
                "or name the image that the array is a level of"
            )
        return found
    if levels := n5_levels(folder) or image_levels(folder):
        level = _choose_level(
            config,
            folder,
            levels,
            lambda level: voxel_size(
                attrs.evolve(config, path=folder, array=level, scale=None, voxel_size_nm=None)
            ),
        )
        if found := _in_folder(folder / level):
            return found
        raise DataError(f"{folder}: its level {level} is not there; choose another one")
    raise _not_found(config)


def _in_folder(folder: VolumePath) -> FoundArray | None:
    if is_zarr_array(folder):
        return FoundArray("zarr", folder)
    return FoundArray("n5", folder) if is_n5_array(folder) else None


def _choose_scale(config: ArrayConfig) -> str:
    """Return the key or the index of the scale of a precomputed volume; "" is the first one."""
    if config.scale is not None:
        return str(config.scale)
    if config.array or config.voxel_size_nm is None:
        return config.array
    sizes = precomputed_scales(config.path)
    return _choose_level(config, config.path, list(sizes), sizes.__getitem__)


def _choose_level(
    config: ArrayConfig,
    image: VolumePath,
    levels: list[str],
    voxel_size: Callable[[str], VoxelSize | None],
) -> str:
    if config.scale is not None and config.scale < len(levels):
        return levels[config.scale]
    if config.scale is None and len(levels) == 1:
        return levels[0]
    sizes = {level: voxel_size(level) for level in levels}
    if config.scale is None and (wanted := config.voxel_size_nm):
        for level, size in sizes.items():
            if size is not None and same_size(size, wanted):
                return level
    listed = ", ".join(
        f"{number} ({level}: {'x'.join(f'{each:g}' for each in size) if size else '?'} nm)"
        for number, (level, size) in enumerate(sizes.items())
    )
    found = f"`scale` is {config.scale}" if config.scale is not None else "`scale` is not given"
    if config.scale is None and config.voxel_size_nm:
        found = f"no level has the voxels of `voxel_size_nm`, {list(config.voxel_size_nm)} nm"
    raise DataError(f"{image}: is an image of several scales, and {found}; set `scale` to {listed}")


def _not_found(config: ArrayConfig) -> DataError:
    if isinstance(config.path, RemotePath):
        return DataUnavailableError(
            f"{config.path / config.array}: the server has no zarr, N5 or neuroglancer precomputed "
            "array there, or denies access; check the address, `array` and the credentials"
        )
    refuse_file(config.path, config.array)
    if not config.path.is_dir():
        unset = _VARIABLE.search(str(config.path))
        hint = f"; {unset[0]} is not set" if unset else ""
        return DataUnavailableError(
            f"{config.path}: no such directory{hint}; expected a zarr, N5 or precomputed volume"
        )
    names = array_names(config.path)
    if not names:  # as the folder of a file system that is not mounted
        return DataUnavailableError(
            f"{config.path}: holds no zarr, N5 or neuroglancer precomputed array"
        )
    inside = [name for name in names if name.startswith(f"{config.array}/")]
    if config.array and inside:
        return DataError(
            f"{config.path}: `array` is {config.array!r}, a group; name one of its arrays: "
            f"{', '.join(inside)}"
        )
    return DataError(
        f"{config.path}: `array` is none of its arrays: {not_one_of(config.array, names)}"
    )


def array_names(container: Path) -> list[str]:
    """List the zarr and N5 arrays in a folder, sorted; stop after many folders."""
    names = []
    for count, (folder, subfolders, _) in enumerate(os.walk(container)):
        if _in_folder(Path(folder)) is not None:
            names.append(Path(folder).relative_to(container).as_posix())
            subfolders.clear()  # they hold chunks
        if count == _MAX_FOLDERS:
            break
    return sorted(names)

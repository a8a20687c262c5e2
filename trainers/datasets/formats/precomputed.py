"""Metadata of neuroglancer precomputed volumes. They list dimensions with x first, in nm."""

from __future__ import annotations

from trainers.config_faults import not_one_of
from trainers.datasets.formats.stored_array import Grid, StoredArray, read_json
from trainers.datasets.remote_path import VolumePath
from trainers.errors import DataError


def is_precomputed_volume(folder: VolumePath) -> bool:
    return (folder / "info").is_file()


def read_precomputed_array(folder: VolumePath, scale: str) -> StoredArray:
    """Read the metadata of one scale of the volume in a folder.

    Args:
        scale: Its key or its index; "" is the first one, at full resolution.

    Raises:
        DataError: There is no such scale.
    """
    info = read_json(folder / "info")
    index = _scale_index(folder, [str(each["key"]) for each in info["scales"]], scale)
    level = info["scales"][index]
    resolution = level["resolution"]
    voxel_offset = level.get("voxel_offset", [0, 0, 0])
    return StoredArray(
        driver="neuroglancer_precomputed",
        scale_index=index,
        shape=(*map(int, level["size"]), int(info["num_channels"])),
        dtype=str(info["data_type"]),
        grid=Grid.from_lists(
            ("x", "y", "z", "c"),
            scale=resolution,
            translation=[
                a * b for a, b in zip(voxel_offset, resolution, strict=True)
            ],  # voxels to nm
            units="nm",
        ),
    )


def _scale_index(folder: VolumePath, keys: list[str], scale: str) -> int:
    if scale in keys:
        return keys.index(scale)
    if scale == "":
        return 0
    if scale.isdecimal() and int(scale) < len(keys):
        return int(scale)
    raise DataError(f"{folder}: `array` is none of the volume's scales: {not_one_of(scale, keys)}")

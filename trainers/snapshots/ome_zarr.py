"""Write images as OME-Zarr 0.4 (Zarr 2), which napari and neuroglancer open."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy.typing as npt
import tensorstore as ts

_MAX_CHUNK = 128


def write_group(path: Path, attributes: Mapping[str, Any] | None = None) -> None:
    """Create a Zarr 2 group, or turn a folder into one."""
    path.mkdir(exist_ok=True)
    (path / ".zgroup").write_text(json.dumps({"zarr_format": 2}))
    if attributes is not None:
        (path / ".zattrs").write_text(json.dumps(attributes, indent=1))


def write_image(
    path: Path,
    array: npt.NDArray[Any],
    *,
    voxel_size_nm: tuple[float, ...],
    offset_nm: tuple[float, ...],
) -> None:
    """Write an image with a single resolution level.

    Args:
        array: [z, y, x] or [c, z, y, x], in 2-D without z; the data type is kept.
        offset_nm: Position of the lower corner of the first voxel.
    """
    channel = [{"name": "c", "type": "channel"}] * (array.ndim - len(voxel_size_nm))
    space = [
        {"name": name, "type": "space", "unit": "nanometer"}
        for name in "zyx"[-len(voxel_size_nm) :]
    ]
    transformations = [
        {"type": "scale", "scale": [1.0] * len(channel) + list(voxel_size_nm)},
        {"type": "translation", "translation": [0.0] * len(channel) + list(offset_nm)},
    ]
    image = {
        "version": "0.4",
        "name": path.name,
        "axes": channel + space,
        "datasets": [{"path": "0", "coordinateTransformations": transformations}],
    }
    write_group(path, {"multiscales": [image]})
    chunks = [1] * len(channel) + [min(n, _MAX_CHUNK) for n in array.shape[len(channel) :]]
    _write_array(path / "0", array, chunks)


def _write_array(path: Path, array: npt.NDArray[Any], chunks: list[int]) -> None:
    spec = {
        "driver": "zarr",
        "kvstore": {"driver": "file", "path": str(path)},
        "metadata": {
            "shape": array.shape,
            "chunks": chunks,
            "dtype": array.dtype.str,
            "dimension_separator": "/",
        },
    }
    ts.open(spec, create=True).result().write(array).result()

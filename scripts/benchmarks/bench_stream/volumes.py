"""Volumes to stream from: like cells in EM, in several formats, and the bundled sample."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorstore as ts
from attrs import frozen
from scipy import ndimage
from scipy.spatial import cKDTree

from scripts.workloads.checkout import SAMPLE

_LENGTH = 512
_COARSE = 4
_BLOSC = {"cname": "zstd", "clevel": 5}


@frozen(kw_only=True)
class Volume:
    """Where raw, labels and mask lie, and how large crops of them are, in voxels."""

    path: Path
    arrays: tuple[str, str, str] = ("raw", "labels", "mask")
    input_shape: tuple[int, ...] = (128, 128, 128)
    output_shape: tuple[int, ...] = (64, 64, 64)


def bundled_sample() -> Volume:
    return Volume(
        path=SAMPLE,
        arrays=("raw/s0", "labels/s0", "mask/s0"),
        input_shape=(68, 68, 68),
        output_shape=(28, 28, 28),
    )


def write_volumes(folder: Path) -> dict[str, Volume]:
    """Write the same voxels in every format: raw uint8, labels uint64, and mask uint8.

    Args:
        folder: Where they go; what is there already is used.
    """
    volumes = {
        name: Volume(path=folder / f"{name}.zarr")
        for name in ("zarr2_64", "zarr2_128", "zarr3_64", "zarr3_sharded")
    }
    if not all(each.path.exists() for each in volumes.values()):
        for name, voxels in _voxels().items():
            _write_zarr2(volumes["zarr2_64"].path / name, voxels, 64)
            _write_zarr2(volumes["zarr2_128"].path / name, voxels, 128)
            _write_zarr3(volumes["zarr3_64"].path / name, voxels, 64, 64)
            _write_zarr3(volumes["zarr3_sharded"].path / name, voxels, 64, 256)
    return volumes


def _voxels() -> dict[str, npt.NDArray[Any]]:
    """Cells with membranes between them; the mask is a ball, which is half of the volume."""
    rng = np.random.default_rng(0)
    length = _LENGTH // _COARSE
    grid = np.indices((length,) * 3).reshape(3, -1).T
    cells = cKDTree(rng.uniform(0, length, (1500, 3))).query(grid, workers=-1)[1]
    cells = cells.reshape((length,) * 3)
    for axis in range(3):
        cells = cells.repeat(_COARSE, axis)
    membranes = np.zeros(cells.shape, bool)
    for axis in range(3):
        first, second = [slice(None)] * 3, [slice(None)] * 3
        first[axis], second[axis] = slice(0, -1), slice(1, None)
        differ = cells[*first] != cells[*second]
        membranes[*first] |= differ
        membranes[*second] |= differ
    labels = ((cells + 1) * 1_000_003).astype(np.uint64)
    labels[membranes] = 0
    texture = ndimage.zoom(rng.normal(size=(64,) * 3).astype(np.float32), _LENGTH / 64, order=1)
    raw = 150 + 18 * texture
    raw[membranes] -= 70
    raw += rng.normal(0, 6, raw.shape).astype(np.float32)
    raw = ndimage.uniform_filter(raw, 3).clip(0, 255).astype(np.uint8)
    squares = np.linspace(-1, 1, _LENGTH) ** 2
    ball = squares[:, None, None] + squares[:, None] + squares < 1
    return {"raw": raw, "labels": labels, "mask": ball.astype(np.uint8)}


def _write_zarr2(folder: Path, voxels: npt.NDArray[Any], chunk: int) -> None:
    metadata = {
        "shape": voxels.shape,
        "chunks": [chunk] * 3,
        "dtype": voxels.dtype.str,
        "dimension_separator": "/",
        "compressor": {"id": "blosc", "shuffle": 1, **_BLOSC},
    }
    _write("zarr", folder, metadata, voxels)


def _write_zarr3(folder: Path, voxels: npt.NDArray[Any], chunk: int, shard: int) -> None:
    size = voxels.dtype.itemsize
    codecs: list[dict[str, Any]] = [
        {"name": "bytes", "configuration": {"endian": "little"}} if size > 1 else {"name": "bytes"},
        {"name": "blosc", "configuration": {**_BLOSC, "shuffle": "shuffle", "typesize": size}},
    ]
    if shard > chunk:
        inside = {"chunk_shape": [chunk] * 3, "codecs": codecs}
        codecs = [{"name": "sharding_indexed", "configuration": inside}]
    metadata = {
        "shape": voxels.shape,
        "data_type": voxels.dtype.name,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [shard] * 3}},
        "codecs": codecs,
    }
    _write("zarr3", folder, metadata, voxels)


def _write(driver: str, folder: Path, metadata: dict[str, Any], voxels: npt.NDArray[Any]) -> None:
    spec = {
        "driver": driver,
        "kvstore": {"driver": "file", "path": f"{folder}/"},
        "metadata": metadata,
        "store_data_equal_to_fill_value": True,
    }
    ts.open(spec, create=True, delete_existing=True).result()[...] = voxels

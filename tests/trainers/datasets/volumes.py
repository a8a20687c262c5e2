"""Small volumes in every format, written with TensorStore. Voxels are given in z, y, x order."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorstore as ts

Voxels = npt.NDArray[Any]


def counting(shape: Sequence[int], dtype: str = "uint8") -> Voxels:
    """Voxels that all differ, as far as the type allows."""
    return np.arange(np.prod(shape)).astype(dtype).reshape(shape)


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data))


def write_zarr2(folder: Path, voxels: Voxels, **attributes: Any) -> None:
    metadata = {
        "shape": voxels.shape,
        "chunks": [min(length, 4) for length in voxels.shape],
        "dtype": voxels.dtype.str,
        "dimension_separator": "/",
        "compressor": {"id": "blosc", "cname": "zstd", "clevel": 1, "shuffle": 0},
    }
    _create("zarr", folder, metadata)[...] = voxels
    if attributes:
        write_json(folder / ".zattrs", attributes)


def write_zarr3(folder: Path, voxels: Voxels, *, sharded: bool = False, **attributes: Any) -> None:
    inner = [{"name": "bytes"}, {"name": "zstd"}]
    chunk, shard = (4,) * voxels.ndim, (8,) * voxels.ndim
    sharding = {
        "name": "sharding_indexed",
        "configuration": {"chunk_shape": chunk, "codecs": inner},
    }
    metadata = {
        "shape": voxels.shape,
        "data_type": voxels.dtype.name,
        "chunk_grid": {
            "name": "regular",
            "configuration": {"chunk_shape": shard if sharded else chunk},
        },
        "codecs": [sharding] if sharded else inner,
        "attributes": attributes,
    }
    _create("zarr3", folder, metadata)[...] = voxels


def write_n5(folder: Path, voxels: Voxels, **attributes: Any) -> None:
    shape_xyz = voxels.shape[::-1]
    metadata = {
        "dimensions": shape_xyz,
        "blockSize": [min(length, 4) for length in shape_xyz],
        "dataType": voxels.dtype.name,
        "compression": {"type": "gzip"},
        **attributes,
    }
    _create("n5", folder, metadata)[...] = voxels.T


def write_precomputed(
    folder: Path,
    voxels: Voxels,
    *,
    resolution_xyz: Sequence[float] = (4, 4, 40),
    voxel_offset_xyz: Sequence[int] = (0, 0, 0),
    key: str = "s0",
    sharded: bool = False,
) -> None:
    """Add a scale to a volume, which is made if there is none. Voxels may begin with channels."""
    voxels_czyx = voxels.reshape(-1, *voxels.shape[-3:])
    scale: dict[str, Any] = {
        "key": key,
        "size": voxels_czyx.shape[:0:-1],
        "resolution": resolution_xyz,
        "voxel_offset": voxel_offset_xyz,
        "chunk_size": [4, 4, 4],
        "encoding": "raw",
    }
    if sharded:
        scale["sharding"] = {
            "@type": "neuroglancer_uint64_sharded_v1",
            "preshift_bits": 1,
            "minishard_bits": 1,
            "shard_bits": 1,
            "hash": "identity",
        }
    spec = {
        "driver": "neuroglancer_precomputed",
        "kvstore": {"driver": "file", "path": f"{folder}/"},
        "multiscale_metadata": {
            "type": "image",
            "data_type": voxels.dtype.name,
            "num_channels": len(voxels_czyx),
        },
        "scale_metadata": scale,
    }
    ts.open(spec, create=True).result()[...] = voxels_czyx.T


def ome_image(
    *,
    axes: str = "zyx",
    unit: str | None = "nanometer",
    level: Sequence[Mapping[str, Any]],
    image: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """The metadata of an image with one level, s0.

    Args:
        level, image: Coordinate transformations of the level, and of the whole image.
    """
    return {
        "multiscales": [
            {
                "axes": [_ome_axis(name, unit) for name in axes],
                "datasets": [{"path": "s0", "coordinateTransformations": list(level)}],
                "coordinateTransformations": list(image),
            }
        ]
    }


def write_ome_zarr2(group: Path, voxels: Voxels, **image: Any) -> None:
    """OME-Zarr 0.4; `image` as for `ome_image`."""
    write_zarr2(group / "s0", voxels)
    write_json(group / ".zgroup", {"zarr_format": 2})
    write_json(group / ".zattrs", ome_image(**image))


def write_ome_zarr3(group: Path, voxels: Voxels, **image: Any) -> None:
    """OME-Zarr 0.5; `image` as for `ome_image`."""
    write_zarr3(group / "s0", voxels)
    attributes = {"ome": {"version": "0.5", **ome_image(**image)}}
    write_json(
        group / "zarr.json", {"zarr_format": 3, "node_type": "group", "attributes": attributes}
    )


def _ome_axis(name: str, unit: str | None) -> dict[str, str]:
    kind = {"c": "channel", "t": "time"}.get(name, "space")
    return {"name": name, "type": kind} | ({"unit": unit} if unit and kind == "space" else {})


def _create(driver: str, folder: Path, metadata: Mapping[str, Any]) -> ts.TensorStore:
    kvstore = {"driver": "file", "path": f"{folder}/"}
    spec = {"driver": driver, "kvstore": kvstore, "metadata": metadata}
    return ts.open(spec, create=True).result()

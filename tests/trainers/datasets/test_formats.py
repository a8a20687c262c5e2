"""Volumes as other libraries write them, read voxel by voxel: what each of them reads itself."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numcodecs
import numpy as np
import pytest
import tensorstore as ts
import zarr

from tests.trainers.datasets.volumes import Voxels, counting, write_json, write_zarr2
from trainers.datasets.array_info import ArrayInfo, read_array_info
from trainers.datasets.dataset_config import ArrayConfig
from trainers.datasets.read_options import Reading
from trainers.datasets.stored_voxels import StoredVoxels
from trainers.errors import DataError

SHAPE = {"t": 2, "c": 3, "z": 5, "y": 6, "x": 7}
SIZE = {"z": 40.0, "y": 8.0, "x": 4.0}
BEGIN = {"z": 400.0, "y": -16.0, "x": 12.0}
DTYPES = ["|b1", "|u1", "<u2", ">u2", "<i4", "<u8", "<f4", ">f8"]
CODECS = {
    "none": None,
    "zstd": numcodecs.Zstd(level=3),
    "zstd with a checksum": numcodecs.Zstd(level=1, checksum=True),
    "blosc lz4": numcodecs.Blosc(cname="lz4", shuffle=numcodecs.Blosc.BITSHUFFLE),
    "blosc zstd": numcodecs.Blosc(cname="zstd", clevel=9, shuffle=numcodecs.Blosc.AUTOSHUFFLE),
    "zlib": numcodecs.Zlib(),
    "gzip": numcodecs.GZip(),
    "bz2": numcodecs.BZ2(),
}


def voxels_of(config: ArrayConfig) -> tuple[ArrayInfo, Voxels]:
    """The metadata and all voxels, channels first, then z, y, x."""
    info = read_array_info(config)
    store = StoredVoxels(info, info.axes, Reading(timeout_s=2.0))
    return info, store.begin_read(tuple(slice(0, length) for length in info.shape))()


def expected(stored: Voxels, axes: str, **selected: int) -> Voxels:
    """Stored voxels with channels first, then z, y, x."""
    for axis, index in selected.items():
        stored = stored.take(index, axes.index(axis))
        axes = axes.replace(axis, "")
    return stored.transpose([axes.index(axis) for axis in "czyx" if axis in axes])


def stored(axes: str, dtype: str) -> Voxels:
    shape = [SHAPE[axis] for axis in axes]
    values = np.random.default_rng(len(axes)).integers(0, 2**31, shape)
    return (values % 2 == 0 if dtype == "|b1" else values).astype(dtype)


def matrix() -> Iterator[Any]:
    """Each dtype, codec, order of axes and convention at least once with each of its neighbors."""
    axes = ["zyx", "xyz", "czyx", "zyxc", "tczyx", "yx"]
    conventions = list(CONVENTIONS)
    lists = (DTYPES, list(CODECS), axes, conventions)
    for number in range(max(map(len, lists)) * len(conventions)):
        yield pytest.param(
            *(each[(number + number // len(each)) % len(each)] for each in lists), id=str(number)
        )


def funlib(axes: str) -> dict[str, Any]:
    spatial = [axis for axis in axes if axis in SIZE]
    return {
        "axis_names": [f"{axis}^" if axis in "ct" else axis for axis in axes],
        "voxel_size": [SIZE[axis] for axis in spatial],
        "offset": [BEGIN[axis] for axis in spatial],
        "units": ["nm"] * len(spatial),
    }


def xarray(axes: str) -> dict[str, Any]:
    spatial = [axis for axis in axes if axis in SIZE]
    return {
        "_ARRAY_DIMENSIONS": list(axes),
        "resolution": [SIZE[axis] / 1000 for axis in spatial],
        "offset": [BEGIN[axis] / 1000 for axis in spatial],
        "units": "µm",
    }


def cosem(axes: str) -> dict[str, Any]:
    return {
        "transform": {
            "axes": list(axes),
            "scale": [SIZE.get(axis, 1.0) for axis in axes],
            "translate": [BEGIN.get(axis, 0.0) for axis in axes],
            "units": ["nm" if axis in SIZE else "" for axis in axes],
        }
    }


def ome(axes: str) -> dict[str, Any]:
    scale = [SIZE.get(axis, 1.0) / 1000 for axis in axes]
    return {
        "multiscales": [
            {
                "version": "0.4",
                "axes": [
                    {"name": axis, "unit": "micrometer"} if axis in SIZE else {"name": axis}
                    for axis in axes
                ],
                "datasets": [
                    {
                        "path": "s0",
                        "coordinateTransformations": [
                            {"type": "scale", "scale": scale},
                            {
                                "type": "translation",
                                "translation": [BEGIN.get(axis, 0.0) / 1000 for axis in axes],
                            },
                        ],
                    }
                ],
            }
        ]
    }


CONVENTIONS = {"funlib": funlib, "xarray": xarray, "COSEM": cosem, "OME-Zarr": ome}


@pytest.mark.parametrize(("dtype", "codec", "axes", "convention"), list(matrix()))
def test_zarr_python(tmp_path: Path, dtype: str, codec: str, axes: str, convention: str) -> None:
    """Every codec, type, order of axes, and convention about axes, voxel sizes and offsets."""
    voxels = stored(axes, dtype)
    group = zarr.open_group(str(tmp_path), mode="w")
    chunks = tuple(min(length, 4) for length in voxels.shape)
    array = group.create_dataset("s0", data=voxels, chunks=chunks, compressor=CODECS[codec])
    (group if convention == "OME-Zarr" else array).attrs.update(CONVENTIONS[convention](axes))

    selected = {"t": 1} if "t" in axes else {}
    info, found = voxels_of(ArrayConfig(path=tmp_path, array="s0", time=1 if "t" in axes else None))

    spatial = [axis for axis in "zyx" if axis in axes]
    assert info.voxel_size_nm == tuple(SIZE[axis] for axis in spatial)
    assert info.offset_nm == tuple(BEGIN[axis] for axis in spatial)
    np.testing.assert_array_equal(found, expected(voxels, axes, **selected))
    np.testing.assert_array_equal(found, expected(array[:], axes, **selected))


@pytest.mark.parametrize(
    "compression",
    [
        {"type": "raw"},
        {"type": "gzip", "level": 1, "strategy": "default"},
        {"type": "bzip2", "blockSize": 9},
        {"type": "xz", "preset": 6},
        {"type": "zstd", "level": 3, "nbWorkers": 0},
        {"type": "blosc", "cname": "lz4", "clevel": 5, "shuffle": 1, "blocksize": 0, "nthreads": 1},
        None,
    ],
    ids=lambda each: each["type"] if each else "before N5 2.0",
)
def test_n5(tmp_path: Path, compression: dict[str, Any] | None) -> None:
    """Compressions with members that change nothing about reading, and as N5 1.0 wrote them."""
    voxels = stored("zyx", "<u2")
    spec = {"type": "gzip"} if compression is None else dict(compression)
    for extra in ("strategy", "nbWorkers", "nthreads"):
        spec.pop(extra, None)
    metadata = {"dimensions": voxels.shape[::-1], "blockSize": [4, 4, 4], "dataType": "uint16"}
    kvstore = {"driver": "file", "path": f"{tmp_path}/"}
    ts.open(
        {"driver": "n5", "kvstore": kvstore, "metadata": {**metadata, "compression": spec}},
        create=True,
    ).result()[...] = voxels.T
    given = {"compressionType": "gzip"} if compression is None else {"compression": compression}
    write_json(tmp_path / "attributes.json", {**metadata, **given, "resolution": [4, 8, 40]})

    info, found = voxels_of(ArrayConfig(path=tmp_path))
    assert info.voxel_size_nm == (40.0, 8.0, 4.0)
    np.testing.assert_array_equal(found, voxels)


@pytest.mark.parametrize("sharded", [False, True])
@pytest.mark.parametrize(
    ("written", "stands_there"),
    [
        ({"name": "zstd", "configuration": {"level": 1}}, {"level": 1, "checksum": False}),
        ({"name": "gzip", "configuration": {"level": 1}}, {"level": 1}),
        (
            {"name": "blosc", "configuration": {"cname": "lz4", "typesize": 2}},
            {"cname": "lz4", "clevel": 5, "shuffle": 1, "blocksize": 0},
        ),
    ],
    ids=["zstd", "gzip", "blosc"],
)
def test_zarr3_by_zarr_python_3(
    tmp_path: Path, written: dict[str, Any], stands_there: dict[str, Any], sharded: bool
) -> None:
    """Codecs under the names that numcodecs gives them, and with the members that it adds."""
    voxels = stored("zyx", "<u2")
    codecs: list[Any] = [{"name": "bytes", "configuration": {"endian": "little"}}, written]
    if sharded:
        inner = {"chunk_shape": [2, 2, 2], "codecs": codecs}
        codecs = [{"name": "sharding_indexed", "configuration": inner}]
    metadata = {
        "shape": voxels.shape,
        "data_type": "uint16",
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [4, 4, 4]}},
        "codecs": codecs,
    }
    kvstore = {"driver": "file", "path": f"{tmp_path}/"}
    ts.open({"driver": "zarr3", "kvstore": kvstore, "metadata": metadata}, create=True).result()[
        ...
    ] = voxels
    path = tmp_path / "zarr.json"
    stored_metadata = json.loads(path.read_text())
    listed = stored_metadata["codecs"]
    if sharded:
        listed = listed[0]["configuration"]["codecs"]
    listed[-1] = {"name": f"numcodecs.{written['name']}", "configuration": stands_there}
    stored_metadata["attributes"] = {"voxel_size": [40, 8, 4]}
    stored_metadata["dimension_names"] = [None, "dim_1", None]
    path.write_text(json.dumps(stored_metadata))

    info, found = voxels_of(ArrayConfig(path=tmp_path))
    assert info.stored_axes == ("z", "y", "x")
    np.testing.assert_array_equal(found, voxels)


def test_a_compressor_in_the_place_of_a_filter(tmp_path: Path) -> None:
    """It compresses there as well."""
    voxels = stored("zyx", "|u1")
    zarr.array(
        voxels, store=str(tmp_path), chunks=(4, 4, 4), compressor=None, filters=[numcodecs.Zlib()]
    )

    _, found = voxels_of(ArrayConfig(path=tmp_path, voxel_size_nm=(1, 1, 1)))
    np.testing.assert_array_equal(found, voxels)


def test_chunks_in_folders_that_the_metadata_do_not_mention(tmp_path: Path) -> None:
    """As zarr-python's NestedDirectoryStore wrote them before there was a key for it."""
    voxels = stored("zyx", "|u1")
    zarr.array(voxels, store=str(tmp_path), chunks=(4, 4, 4), dimension_separator="/")
    metadata = json.loads((tmp_path / ".zarray").read_text())
    del metadata["dimension_separator"]
    write_json(tmp_path / ".zarray", metadata)

    _, found = voxels_of(ArrayConfig(path=tmp_path, voxel_size_nm=(1, 1, 1)))
    np.testing.assert_array_equal(found, voxels)


@pytest.mark.parametrize(
    ("dtype", "fill_value"),
    [
        *itertools.product(["|u1", "|b1", "<f4"], [0, 0.0, 1, None]),
        ("<f4", float("nan")),
        ("<f4", float("-inf")),
    ],
)
def test_fill_values(tmp_path: Path, dtype: str, fill_value: float | None) -> None:
    """However they are written: whole numbers as floats, bool as 0 and 1, NaN without quotes."""
    voxels = stored("zyx", dtype)
    write_zarr2(tmp_path, voxels)
    path = tmp_path / ".zarray"
    path.write_text(json.dumps({**json.loads(path.read_text()), "fill_value": fill_value}))

    _, found = voxels_of(ArrayConfig(path=tmp_path, voxel_size_nm=(1, 1, 1)))
    np.testing.assert_array_equal(found, voxels)


@pytest.mark.parametrize(
    "metadata",
    [
        {"compressor": {"id": "lz4", "acceleration": 1}},
        {"compressor": {"id": "lzma", "format": 1, "check": -1, "preset": None, "filters": None}},
        {"filters": [{"id": "delta", "dtype": "|u1"}]},
    ],
    ids=["lz4", "lzma", "delta"],
)
def test_what_cannot_be_decoded_is_refused_with_the_command_that_converts_it(
    tmp_path: Path, metadata: dict[str, Any]
) -> None:
    """Nothing is read with a codec that is not there."""
    write_zarr2(tmp_path / "raw", stored("zyx", "|u1"))
    path = tmp_path / "raw" / ".zarray"
    path.write_text(json.dumps({**json.loads(path.read_text()), **metadata}))

    with pytest.raises(DataError, match=r"Convert it \(pip install dask zarr\): python -c"):
        voxels_of(ArrayConfig(path=tmp_path / "raw", voxel_size_nm=(1, 1, 1)))


def test_time_and_channel_are_chosen(tmp_path: Path) -> None:
    """One of several, or all channels; without a choice, several time points are refused."""
    voxels = stored("tczyx", "|u1")
    write_zarr2(tmp_path, voxels, voxel_size=[40, 8, 4], axis_names=list("tczyx"))

    for time, channel in itertools.product((0, 1), (None, 0, 2)):
        config = ArrayConfig(path=tmp_path, time=time, channel=channel)
        chosen = voxels[time] if channel is None else voxels[time, channel]
        np.testing.assert_array_equal(voxels_of(config)[1], chosen)
    with pytest.raises(DataError, match="must have length 1; set `time`"):
        read_array_info(ArrayConfig(path=tmp_path))
    with pytest.raises(DataError, match="`channel` is 3; the array has 3, counted from 0"):
        read_array_info(ArrayConfig(path=tmp_path, time=0, channel=3))


def test_one_plane_is_an_image_to_a_network_of_two_axes(tmp_path: Path) -> None:
    """As t and c of length 1, z vanishes then; to others it stays."""
    voxels = counting((1, 6, 7))
    write_zarr2(tmp_path, voxels, voxel_size=[40, 8, 4], offset=[0, 16, 4])
    info = read_array_info(ArrayConfig(path=tmp_path))

    assert info.with_axes(3) is info
    image = info.with_axes(2)
    assert (image.shape, image.voxel_size_nm, image.offset_nm) == ((6, 7), (8, 4), (16, 4))
    store = StoredVoxels(image, image.axes, Reading())
    np.testing.assert_array_equal(store.begin_read((slice(0, 6), slice(0, 7)))(), voxels[0])

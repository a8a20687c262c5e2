"""Volumes in buckets, on a server that speaks S3."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import tensorstore as ts
from gunpowder import Coordinate, Roi

from tests.trainers.datasets.volumes import counting
from trainers.config.converter import from_plain, to_plain
from trainers.datasets.array import Array
from trainers.datasets.array_info import read_array_info
from trainers.datasets.dataset_config import ArrayConfig, DatasetConfig
from trainers.datasets.read_options import Reading
from trainers.datasets.remote_path import RemotePath
from trainers.errors import DataError

VOXELS = counting((8, 8, 8), "uint16") + 1
EVERYWHERE = Roi((0, 0, 0), (8, 8, 8))


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    """The address of a bucket that holds one zarr array, `raw`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    environment = {
        "AWS_ACCESS_KEY_ID": "somebody",
        "AWS_SECRET_ACCESS_KEY": "not-a-secret",
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": address,
    }
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        try:
            _make_bucket(f"{address}/volumes", server)
            kvstore = RemotePath("s3://volumes/raw").kvstore
            metadata = {"shape": [8, 8, 8], "chunks": [4, 4, 4], "dtype": "<u2"}
            spec = {"driver": "zarr", "kvstore": kvstore, "metadata": metadata}
            ts.open(spec, create=True).result()[...] = VOXELS
            yield "s3://volumes"
        finally:
            server.kill()
            server.wait()


def _make_bucket(address: str, server: subprocess.Popen[bytes]) -> None:
    while server.poll() is None:
        with suppress(OSError):
            urllib.request.urlopen(urllib.request.Request(address, method="PUT")).close()
            return
        time.sleep(0.1)
    raise AssertionError("the server has not started")


def open_array(path: str, timeout_s: float = 30.0) -> Array:
    config = ArrayConfig(path=path, voxel_size_nm=(1, 1, 1), offset_nm=(0, 0, 0))
    info = read_array_info(config)
    array = Array(info, voxel_size=Coordinate(1, 1, 1), offset=Coordinate(0, 0, 0))
    array.reading = Reading(timeout_s=timeout_s)
    return array


def test_a_bucket_is_read_like_a_folder(bucket: str) -> None:
    """Metadata and voxels."""
    array = open_array(f"{bucket}/raw")

    assert array.dtype == np.uint16
    assert np.array_equal(array[EVERYWHERE], VOXELS)


def test_a_chunk_that_is_not_in_the_bucket_is_named(bucket: str) -> None:
    """And an array that is not there, or a bucket."""
    array = open_array(f"{bucket}/raw")
    store = ts.KvStore.open(RemotePath(f"{bucket}/raw").kvstore).result()
    chunk = store.read("0.1.0").result().value
    store.delete_range(ts.KvStore.KeyRange("0.1.0", "0.1.1")).result()
    try:
        with pytest.raises(
            DataError, match=r"NOT_FOUND: chunk \{0, 1, 0\} stored at .*raw/0\.1\.0"
        ):
            array[EVERYWHERE]
    finally:
        store.write("0.1.0", chunk).result()

    with pytest.raises(DataError, match="s3://volumes/nothing: the server has no zarr"):
        open_array(f"{bucket}/nothing")


def test_addresses_survive_in_config_files(tmp_path: Path) -> None:
    """They are no paths: nothing is put before them, and no slash is lost."""
    plain = {"name": "far", "raw": {"path": "s3://volumes/a/b.zarr/", "array": "raw"}}

    config = from_plain(DatasetConfig, plain, folder=tmp_path)

    assert config.raw.path == RemotePath("s3://volumes/a/b.zarr")
    assert to_plain(config)["raw"]["path"] == "s3://volumes/a/b.zarr"
    assert from_plain(DatasetConfig, to_plain(config)) == config
    near = from_plain(
        DatasetConfig, {"name": "near", "raw": {"path": "file:///data/a%20b.zarr"}}, folder=tmp_path
    )
    assert near.raw.path == Path("/data/a b.zarr")


def test_paths_may_hold_environment_variables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In paths and URLs; one that is not set stays as it was written."""
    monkeypatch.setenv("VOLUMES", "/data")
    monkeypatch.setenv("BUCKET", "volumes")
    monkeypatch.delenv("NOWHERE", raising=False)
    monkeypatch.setenv("HOME", "/home/ann")
    for text, path in {
        "$VOLUMES/a.zarr/raw/s0": Path("/data/a.zarr/raw/s0"),
        "${VOLUMES}/a.zarr": Path("/data/a.zarr"),
        "file://$VOLUMES/a.zarr": Path("/data/a.zarr"),
        "file://localhost/data/a.zarr": Path("/data/a.zarr"),
        "s3://$BUCKET/a.zarr": RemotePath("s3://volumes/a.zarr"),
        "~/a.zarr": Path("/home/ann/a.zarr"),
        "$NOWHERE/a.zarr": tmp_path / "$NOWHERE/a.zarr",
    }.items():
        plain = {"name": "far", "raw": {"path": text}}
        assert from_plain(DatasetConfig, plain, folder=tmp_path).raw.path == path

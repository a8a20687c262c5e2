"""What becomes of a read when files, disks and servers fail: an error, or the right voxels.

What is away for a while is in test_outages.py.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gunpowder import Coordinate, Roi

from tests.fakes.http_server import FolderServer, serving
from tests.trainers.datasets.volumes import Voxels, counting, write_n5, write_zarr2, write_zarr3
from trainers.datasets import change_detection, stored_voxels
from trainers.datasets.array import Array
from trainers.datasets.array_info import read_array_info
from trainers.datasets.dataset_config import ArrayConfig
from trainers.datasets.read_options import Reading
from trainers.errors import DataError, DataUnavailableError
from trainers.run import backoff

VOXELS = counting((8, 8, 8), "uint16") + 1
EVERYWHERE = Roi((0, 0, 0), (8, 8, 8))


def write_sharded_zarr3(folder: Path, voxels: Voxels) -> None:
    write_zarr3(folder, voxels, sharded=True)


def open_array(path: str | Path, *, timeout_s: float = 30.0, cache_bytes: int = 10**6) -> Array:
    config = ArrayConfig(path=path, voxel_size_nm=(1, 1, 1), offset_nm=(0, 0, 0))
    array = Array(
        read_array_info(config), voxel_size=Coordinate(1, 1, 1), offset=Coordinate(0, 0, 0)
    )
    array.reading = Reading(cache_bytes=cache_bytes, timeout_s=timeout_s)
    return array


@pytest.fixture(autouse=True)
def _little_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """For chunks that are wrong, while their volume is there."""
    monkeypatch.setattr(stored_voxels, "ABSENT_S", 0.2)
    monkeypatch.setattr(stored_voxels, "UNDECODABLE_S", 0.2)
    monkeypatch.setattr(backoff, "FIRST_DELAY_S", 0.1)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[FolderServer]:
    write_zarr2(tmp_path / "raw", VOXELS)
    with serving(tmp_path) as running:
        yield running


@pytest.mark.parametrize("cache_bytes", [0, 10**6])
@pytest.mark.parametrize(
    ("write", "first_chunk"),
    [(write_zarr2, "0/0/0"), (write_zarr3, "c/0/0/0"), (write_n5, "0/0/0")],
)
@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (Path.unlink, r"chunk \{0, 0, 0\} stored at local file .* is missing\. If chunks of this"),
        (lambda file: file.write_bytes(file.read_bytes()[:-9]), "Error reading local file"),
        (lambda file: file.write_bytes(b"\x00" * 40), "Error reading local file"),
    ],
)
def test_a_chunk_that_is_lost_or_damaged_is_named(
    tmp_path: Path,
    write: Any,
    first_chunk: str,
    spoil: Callable[[Path], None],
    message: str,
    cache_bytes: int,
) -> None:
    """Array, voxels and file; all other chunks can be read on."""
    write(tmp_path / "raw", VOXELS)
    spoil(tmp_path / "raw" / first_chunk)
    array = open_array(tmp_path / "raw", cache_bytes=cache_bytes)

    with pytest.raises(DataError, match=message) as caught:
        array[Roi((0, 0, 0), (5, 5, 5))]

    assert not isinstance(caught.value, DataUnavailableError)
    assert str(caught.value).startswith(
        f"{tmp_path}/raw: cannot read voxels (0, 0, 0) to (5, 5, 5)"
    )
    assert f"raw/{first_chunk}" in str(caught.value)
    assert np.array_equal(array[Roi((4, 4, 4), (4, 4, 4))], VOXELS[4:, 4:, 4:])


def test_a_shard_that_is_cut_off_is_named(tmp_path: Path) -> None:
    """Its index is at its end."""
    write_sharded_zarr3(tmp_path / "raw", VOXELS)
    shard = tmp_path / "raw/c/0/0/0"
    array = open_array(tmp_path / "raw", cache_bytes=0)
    array[EVERYWHERE]
    shard.write_bytes(shard.read_bytes()[:-20])

    with pytest.raises(DataError, match=r"Error reading shard entry .* in local file"):
        array[EVERYWHERE]


def test_a_chunk_that_comes_back_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process is about to have written it, or the file system was not up to date."""
    write_zarr2(tmp_path / "raw", VOXELS)
    chunk = tmp_path / "raw/0/0/0"
    content = chunk.read_bytes()
    chunk.write_bytes(content[:-9])
    array = open_array(tmp_path / "raw")

    def write(*_: object, **__: object) -> None:
        chunk.write_bytes(content)

    wait = array.begin_read(EVERYWHERE)
    monkeypatch.setattr("trainers.run.backoff.wait", write)
    assert np.array_equal(wait(), VOXELS)


def test_a_server_is_read_like_a_folder(server: FolderServer) -> None:
    """Metadata and voxels."""
    assert np.array_equal(open_array(f"{server.url}/raw")[EVERYWHERE], VOXELS)


@pytest.mark.parametrize("fault", [500, 503, 429, "reset", "truncate"])
def test_what_passes_is_tried_again(server: FolderServer, fault: int | str) -> None:
    """The first two answers for each chunk are of no use, the third is."""
    array = open_array(f"{server.url}/raw")
    server.fault = lambda path, number: fault if number <= 2 and path.endswith("/1/0/0") else None

    assert np.array_equal(array[EVERYWHERE], VOXELS)
    assert server.number_of("/raw/1/0/0") == 3


@pytest.mark.parametrize(
    ("fault", "message"), [(403, "PERMISSION_DENIED"), (404, "NOT_FOUND: chunk")]
)
def test_a_refusal_of_one_chunk_is_final(server: FolderServer, fault: int, message: str) -> None:
    """All else can be read; the address of the chunk is told."""
    array = open_array(f"{server.url}/raw")
    server.fault = lambda path, number: fault if path.endswith("/1/0/0") else None

    with pytest.raises(DataError, match=message) as caught:
        array[EVERYWHERE]

    assert "raw/1/0/0" in str(caught.value)
    assert not isinstance(caught.value, DataUnavailableError)
    assert server.number_of("/raw/1/0/0") > 2


@pytest.mark.parametrize("fault", ["stall", 500])
def test_patience_has_an_end(server: FolderServer, fault: int | str) -> None:
    """A server that says nothing, or that is never well again, ends the read in time."""
    array = open_array(f"{server.url}/raw", timeout_s=2.0)
    array[Roi((4, 4, 4), (1, 1, 1))]
    server.fault = lambda path, number: fault if path.endswith("/1/0/0") else None

    with pytest.raises(
        DataUnavailableError, match=r"raw: cannot read voxels \(0, 0, 0\) to .*, tried for 2"
    ):
        array[EVERYWHERE]


def test_a_server_without_the_array_says_so(server: FolderServer) -> None:
    """There is no folder to list what else it has."""
    with pytest.raises(DataError, match=r"http.*/nothing: the server has no zarr, N5 or"):
        open_array(f"{server.url}/nothing")


@pytest.mark.parametrize("rewrite", ["metadata", "chunk", "all"])
def test_a_volume_that_is_replaced_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rewrite: str
) -> None:
    """Within some seconds, whether it was rewritten in place or moved away."""
    monkeypatch.setattr(change_detection, "CHECK_INTERVAL_S", 0.0)
    write_zarr2(tmp_path / "raw", VOXELS)
    write_zarr2(tmp_path / "other", VOXELS[:7] + 5)
    array = open_array(tmp_path / "raw")
    for _ in range(5):
        array[EVERYWHERE]
    if rewrite == "metadata":
        shutil.copy(tmp_path / "other/.zarray", tmp_path / "raw/.zarray")
    elif rewrite == "chunk":
        shutil.copy(tmp_path / "other/0/0/0", tmp_path / "raw/0/0/0")
    else:
        (tmp_path / "raw").rename(tmp_path / "old")
        (tmp_path / "other").rename(tmp_path / "raw")

    with pytest.raises(DataError, match="the volume was replaced or written to"):
        for _ in range(1000):
            array[EVERYWHERE]


def test_a_volume_that_is_only_touched_is_read_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What counts is the content: it may be restored from a backup, or made newer."""
    monkeypatch.setattr(change_detection, "CHECK_INTERVAL_S", 0.0)
    write_zarr2(tmp_path / "raw", VOXELS)
    array = open_array(tmp_path / "raw")
    for name in (".zarray", "0/0/0"):
        array[EVERYWHERE]
        content = (tmp_path / "raw" / name).read_bytes()
        (tmp_path / "raw" / name).unlink()
        (tmp_path / "raw" / name).write_bytes(content)
    for _ in range(50):
        assert np.array_equal(array[EVERYWHERE], VOXELS)


def test_a_server_that_hides_what_it_has_not_is_read_all_the_same(server: FolderServer) -> None:
    """Buckets that may not be listed answer 403 for a file that is not there."""
    there = {f"/{path.relative_to(server.folder)}" for path in server.folder.rglob("*")}
    server.fault = lambda path, number: None if path in there else 403

    assert np.array_equal(open_array(f"{server.url}/raw")[EVERYWHERE], VOXELS)
    with pytest.raises(DataError, match="or denies access"):
        open_array(f"{server.url}/other")

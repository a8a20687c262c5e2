"""Volumes that are away for a while are waited for; what was absent never becomes zeros."""

from __future__ import annotations

import pickle
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
from gunpowder import Coordinate, Roi

from tests.fakes.http_server import FolderServer, serving
from tests.trainers.datasets.volumes import (
    counting,
    write_n5,
    write_precomputed,
    write_zarr2,
    write_zarr3,
)
from trainers.datasets import outages, stored_voxels
from trainers.datasets.array import Array
from trainers.datasets.array_info import read_array_info
from trainers.datasets.dataset_config import ArrayConfig, DatasetConfig
from trainers.datasets.open_dataset import open_dataset
from trainers.datasets.read_options import Reading
from trainers.errors import DataError, DataUnavailableError, StopRequestedError
from trainers.run import backoff

VOXELS = counting((8, 8, 8), "uint16") + 1
EVERYWHERE = Roi((0, 0, 0), (8, 8, 8))
CORNER = Roi((0, 0, 0), (4, 4, 4))
LONG_S = 100.0
"""A patience that no test uses up."""


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored_voxels, "ABSENT_S", 0.2)
    monkeypatch.setattr(stored_voxels, "UNDECODABLE_S", 0.2)
    monkeypatch.setattr(backoff, "FIRST_DELAY_S", 0.05)
    monkeypatch.setattr(outages, "_outages", outages._Outages())


@pytest.fixture
def server(tmp_path: Path) -> Iterator[FolderServer]:
    write_zarr2(tmp_path / "raw", VOXELS)
    with serving(tmp_path) as running:
        yield running


def open_array(path: str | Path, **options: Any) -> Array:
    reading: dict[str, Any] = {"cache_bytes": 10**6, "timeout_s": LONG_S}
    reading |= {key: options.pop(key) for key in ("timeout_s", "should_stop") if key in options}
    config = ArrayConfig(path=path, voxel_size_nm=(1, 1, 1), offset_nm=(0, 0, 0), **options)
    array = Array(
        read_array_info(config), voxel_size=Coordinate(1, 1, 1), offset=Coordinate(0, 0, 0)
    )
    array.reading = Reading(**reading)
    return array


class Outage:
    """A folder that is away, and comes back after some attempts to read it have failed."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, attempts: int = 3) -> None:
        self.num_waits = 0
        self._folder, self._away = folder, folder.with_name("away")
        self._attempts = attempts
        self._wait = backoff.wait
        folder.rename(self._away)
        monkeypatch.setattr(backoff, "wait", self.wait)

    def wait(self, *arguments: Any, **options: Any) -> None:
        self.num_waits += 1
        if self.num_waits == self._attempts:
            self._away.rename(self._folder)
        self._wait(*arguments, **options)


def vanish(folder: Path, monkeypatch: pytest.MonkeyPatch, attempts: int = 3) -> Outage:
    return Outage(folder, monkeypatch, attempts)


@pytest.mark.parametrize("absent_chunks", ["error", "fill"])
@pytest.mark.parametrize("is_opened", [False, True])
def test_a_volume_that_is_away_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_opened: bool, absent_chunks: str
) -> None:
    """Far longer than a chunk that is missing, whether it was read before or not."""
    write_zarr2(tmp_path / "raw", VOXELS)
    array = open_array(tmp_path / "raw", absent_chunks=absent_chunks)
    if is_opened:
        array[Roi((4, 4, 4), (1, 1, 1))]
    outage = vanish(tmp_path / "raw", monkeypatch, attempts=7)

    assert np.array_equal(array[EVERYWHERE], VOXELS)
    assert outage.num_waits == 7


def test_a_volume_that_stays_away_is_unavailable(tmp_path: Path) -> None:
    """After the timeout; the message says what was read, how long it was tried, and what to do."""
    write_zarr2(tmp_path / "raw", VOXELS)
    array = open_array(tmp_path / "raw", timeout_s=0.5)
    array[Roi((4, 4, 4), (1, 1, 1))]
    shutil.rmtree(tmp_path / "raw")

    with pytest.raises(DataUnavailableError) as caught:
        array[CORNER]

    message = str(caught.value)
    assert message.startswith(
        f"{tmp_path}/raw: cannot read voxels (0, 0, 0) to (4, 4, 4), tried for 0."
    )
    assert "reading.timeout_s" in message


def test_reads_of_one_volume_share_their_patience(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that comes later, when the volume was given up, does not wait as long again."""
    write_zarr2(tmp_path / "raw", VOXELS)
    array = open_array(tmp_path / "raw", timeout_s=0.5)
    array[Roi((4, 4, 4), (1, 1, 1))]
    shutil.rmtree(tmp_path / "raw")
    with pytest.raises(DataUnavailableError):
        array[CORNER]
    waits: list[object] = []
    monkeypatch.setattr(backoff, "wait", lambda *arguments, **_: waits.append(arguments))

    with pytest.raises(DataUnavailableError):
        array[CORNER]

    assert waits == []


def test_an_outage_is_logged_once_and_so_is_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """However many reads wait for the volume."""
    write_zarr2(tmp_path / "raw", VOXELS)
    array = open_array(tmp_path / "raw")
    array[Roi((4, 4, 4), (1, 1, 1))]
    vanish(tmp_path / "raw", monkeypatch, attempts=12)

    threads = [threading.Thread(target=array.__getitem__, args=(CORNER,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    first, last = [record.getMessage() for record in caplog.records]
    assert first.startswith(f"{tmp_path}/raw cannot be read; waiting for it for up to 100 s: NOT_F")
    assert last.startswith(f"{tmp_path}/raw can be read again, after ")


@pytest.mark.parametrize("status", [401, 403, 404, 503])
def test_a_server_that_refuses_everything_for_a_while_is_waited_for(
    server: FolderServer, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    """A token has expired, a proxy has lost its backend: the volume was read before."""
    array = open_array(f"{server.url}/raw")
    array[Roi((4, 4, 4), (1, 1, 1))]
    num_waits = 0

    def count(*_: object, **__: object) -> None:
        nonlocal num_waits
        num_waits += 1
        if num_waits == 5:
            server.fault = lambda path, number: None

    # answered with 503 for ever, TensorStore itself would try for seconds
    server.fault = lambda path, number: status
    monkeypatch.setattr(backoff, "wait", count)
    if status == 503:
        threading.Timer(1, setattr, (server, "fault", lambda path, number: None)).start()

    assert np.array_equal(array[EVERYWHERE], VOXELS)
    assert num_waits == 5 or status == 503


def test_credentials_that_expire_are_told_from_a_chunk_that_is_refused(
    server: FolderServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Metadata may be public: then it is the chunk that was read before that tells."""
    array = open_array(f"{server.url}/raw", timeout_s=0.6)
    array[Roi((4, 4, 4), (1, 1, 1))]

    server.fault = lambda path, number: 403 if not path.endswith(".zarray") else None
    with pytest.raises(DataUnavailableError, match="PERMISSION_DENIED"):
        array[CORNER]

    server.fault = lambda path, number: 403 if path.endswith("/0/0/0") else None
    with pytest.raises(DataError, match="grant the right to list") as caught:
        array[CORNER]
    assert not isinstance(caught.value, DataUnavailableError)


def test_a_stop_ends_the_wait(tmp_path: Path) -> None:
    """For a volume that is away, and for one that does not answer."""
    write_zarr2(tmp_path / "raw", VOXELS)
    stop = threading.Event()
    array = open_array(tmp_path / "raw", should_stop=stop.is_set)
    array[Roi((4, 4, 4), (1, 1, 1))]
    shutil.rmtree(tmp_path / "raw")
    threading.Timer(0.3, stop.set).start()

    with pytest.raises(StopRequestedError, match=r"stopped while waiting: NOT_FOUND"):
        array[CORNER]


def test_a_stop_ends_the_wait_for_an_answer(server: FolderServer) -> None:
    """A server that says nothing at all."""
    stop = threading.Event()
    array = open_array(f"{server.url}/raw", should_stop=stop.is_set)
    array[Roi((4, 4, 4), (1, 1, 1))]
    server.fault = lambda path, number: "stall"
    threading.Timer(0.3, stop.set).start()

    with pytest.raises(StopRequestedError, match="stopped while reading http"):
        array[CORNER]


def test_a_pickled_array_heeds_no_stops(tmp_path: Path) -> None:
    """What asks for a stop belongs to one process."""
    write_zarr2(tmp_path / "raw", VOXELS)
    array = open_array(tmp_path / "raw", should_stop=lambda: True)

    copy = pickle.loads(pickle.dumps(array))

    assert not copy.reading.should_stop()
    assert copy.reading == attrs.evolve(array.reading, should_stop=backoff.never)


WRITERS: list[tuple[Callable[..., None], str, dict[str, Any]]] = [
    (write_zarr2, "0/0/0", {}),
    (write_zarr3, "c/0/0/0", {}),
    (write_n5, "0/0/0", {}),
    (write_precomputed, "s0/3-7_5-9_7-11", {"voxel_offset_xyz": (3, 5, 7)}),
]


@pytest.mark.parametrize(("write", "first_chunk", "options"), WRITERS)
def test_absent_chunks_are_filled_and_the_others_read(
    tmp_path: Path, write: Callable[..., None], first_chunk: str, options: dict[str, Any]
) -> None:
    """In any region, in every format, wherever its grid begins."""
    write(tmp_path / "raw", VOXELS, **options)
    (tmp_path / "raw" / first_chunk).unlink()
    array = open_array(tmp_path / "raw", absent_chunks="fill")
    expected = VOXELS.copy()
    expected[:4, :4, :4] = 0

    assert np.array_equal(array[EVERYWHERE], expected)
    assert np.array_equal(array[Roi((1, 3, 2), (5, 4, 6))], expected[1:6, 3:7, 2:8])
    assert not array[CORNER].any()


def test_absent_chunks_on_a_server_without_listings_are_filled(server: FolderServer) -> None:
    """A plain web server cannot say which chunks exist."""
    (server.folder / "raw/0/0/0").unlink()

    array = open_array(f"{server.url}/raw", absent_chunks="fill")

    assert not array[CORNER].any()
    assert np.array_equal(array[EVERYWHERE][4:], VOXELS[4:])


@pytest.mark.parametrize("cache_bytes", [0, 10**6])
def test_a_volume_that_vanishes_does_not_become_zeros(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache_bytes: int
) -> None:
    """Neither while it is away, nor later from a cache that has seen its chunks missing."""
    write_zarr2(tmp_path / "raw", VOXELS)
    (tmp_path / "raw/0/0/0").unlink()
    array = open_array(tmp_path / "raw", absent_chunks="fill")
    array.reading = attrs.evolve(array.reading, cache_bytes=cache_bytes)
    array[Roi((4, 4, 4), (1, 1, 1))]
    outage = vanish(tmp_path / "raw", monkeypatch)

    during, after = array[EVERYWHERE], array[EVERYWHERE]

    assert outage.num_waits == 3
    expected = VOXELS.copy()
    expected[:4, :4, :4] = 0
    assert np.array_equal(during, expected)
    assert np.array_equal(after, expected)


def test_a_volume_that_is_back_at_once_does_not_become_zeros(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was away when a chunk was read, and there again when that was checked."""
    write_zarr2(tmp_path / "raw", VOXELS)
    array = open_array(tmp_path / "raw", absent_chunks="fill")
    array[Roi((4, 4, 4), (1, 1, 1))]
    assert array._voxels is not None
    known = array._voxels._watch._names  # which is looked for then
    chunk = next(tmp_path / "raw" / each for each in ("0/0/0", "0/0/1") if each not in known)
    content = chunk.read_bytes()
    chunk.unlink()
    assert not array[EVERYWHERE].all()

    chunk.write_bytes(content)

    assert np.array_equal(array[EVERYWHERE], VOXELS)


def test_a_known_chunk_that_is_gone_makes_absent_ones_doubtful(tmp_path: Path) -> None:
    """The metadata are there, and nothing else: zeros would be a guess."""
    write_zarr2(tmp_path / "raw", VOXELS)
    array = open_array(tmp_path / "raw", absent_chunks="fill", timeout_s=0.5)
    array[Roi((4, 4, 4), (1, 1, 1))]
    for chunk in [path for path in (tmp_path / "raw").rglob("*/*/*") if path.is_file()]:
        chunk.unlink()

    with pytest.raises(DataUnavailableError, match="NOT_FOUND: chunk"):
        array[CORNER]


def test_what_comes_back_may_not_be_another_volume(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Said at once, not after the next regular check."""
    write_zarr2(tmp_path / "raw", VOXELS)
    array = open_array(tmp_path / "raw")
    array[Roi((4, 4, 4), (1, 1, 1))]
    outage = vanish(tmp_path / "raw", monkeypatch)
    shutil.rmtree(tmp_path / "away")
    write_zarr2(tmp_path / "away", VOXELS[:7] + 5)

    with pytest.raises(DataError, match="the volume was replaced or written to"):
        array[EVERYWHERE]
    assert outage.num_waits == 3


def test_metadata_that_are_missing_for_a_moment_are_not_another_volume(
    server: FolderServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that answers 404 for a while is away."""
    monkeypatch.setattr("trainers.datasets.change_detection.CHECK_INTERVAL_S", 0.0)
    array = open_array(f"{server.url}/raw")
    assert np.array_equal(array[EVERYWHERE], VOXELS)
    server.fault = lambda path, number: 404 if path.endswith(".zarray") else None

    assert np.array_equal(array[EVERYWHERE], VOXELS)


def dataset_of(folder: Path, **changes: Any) -> DatasetConfig:
    array = ArrayConfig(path=folder, voxel_size_nm=(1, 1, 1), offset_nm=(0, 0, 0))
    return DatasetConfig(name="d", raw=array, gt=array, **changes)


@pytest.mark.parametrize("how", ["gone", "empty"])
def test_a_run_that_starts_waits_for_its_volumes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """Its mount is not there yet, or is an empty folder."""
    write_zarr2(tmp_path / "data/raw", VOXELS)
    config = dataset_of(tmp_path / "data/raw")
    outage = vanish(tmp_path / "data" if how == "gone" else tmp_path / "data/raw", monkeypatch)
    if how == "empty":
        (tmp_path / "data/raw").mkdir()  # replaced by the rename, since it is empty

    dataset = open_dataset(config, Reading(timeout_s=LONG_S))

    assert dataset.raw.info.shape == (8, 8, 8)
    assert outage.num_waits == 3


def test_a_run_that_starts_waits_for_its_sample_points(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are a file like any other."""
    write_zarr2(tmp_path / "raw", VOXELS)
    (tmp_path / "points").mkdir()
    (tmp_path / "points/points.csv").write_text("z,y,x\n4,4,4\n")
    vanish(tmp_path / "points", monkeypatch)

    dataset = open_dataset(
        dataset_of(tmp_path / "raw", sample_points=tmp_path / "points/points.csv"),
        Reading(timeout_s=LONG_S),
    )

    assert dataset.sample_points is not None


def test_a_run_that_starts_waits_for_its_server(
    server: FolderServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Answers of yesterday's kind are not remembered."""
    array = ArrayConfig(path=f"{server.url}/raw", voxel_size_nm=(1, 1, 1))
    server.fault = lambda path, number: 403

    def heal(*_: object, **__: object) -> None:
        server.fault = lambda path, number: None

    monkeypatch.setattr(backoff, "wait", heal)

    assert open_dataset(DatasetConfig(name="d", raw=array), Reading(timeout_s=LONG_S)).raw


def test_a_start_gives_up_in_the_end(tmp_path: Path) -> None:
    """With the path that is missing."""
    with pytest.raises(DataUnavailableError, match=f"{tmp_path}/none: no such directory"):
        open_dataset(dataset_of(tmp_path / "none"), Reading(timeout_s=0.3))


def test_a_file_system_that_hangs_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that is mounted `hard` never answers."""
    answer = threading.Event()
    monkeypatch.setattr(DatasetConfig, "build", lambda *_: answer.wait(LONG_S))

    with pytest.raises(DataUnavailableError, match=r"its metadata, tried for .*: no answer"):
        open_dataset(dataset_of(tmp_path / "raw"), Reading(timeout_s=0.5))

    answer.set()


def test_what_is_wrong_is_said_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An array that a volume does not have is not waited for."""
    write_zarr2(tmp_path / "volume/raw", VOXELS)
    array = ArrayConfig(path=tmp_path / "volume", array="rav")
    monkeypatch.setattr(backoff, "wait", lambda *_, **__: pytest.fail("it waits"))

    with pytest.raises(DataError, match="did you mean 'raw'"):
        open_dataset(DatasetConfig(name="d", raw=array), Reading(timeout_s=LONG_S))


def test_a_stop_ends_the_wait_for_metadata(server: FolderServer) -> None:
    """Also of a server that never answers."""
    array = ArrayConfig(path=f"{server.url}/raw", voxel_size_nm=(1, 1, 1))
    server.fault = lambda path, number: "stall"
    began = time.monotonic()

    with pytest.raises(StopRequestedError):
        open_dataset(
            DatasetConfig(name="d", raw=array),
            Reading(timeout_s=LONG_S, should_stop=lambda: time.monotonic() > began + 0.3),
        )


def test_reading_metadata_itself_waits_for_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A login node is told at once what is missing."""
    monkeypatch.setattr(backoff, "wait", lambda *_, **__: pytest.fail("it waits"))

    with pytest.raises(DataUnavailableError, match="no such directory"):
        read_array_info(ArrayConfig(path=tmp_path / "none"))


def test_lines_of_the_code_of_tensorstore_are_left_out() -> None:
    """Versions up to 0.1.85 name them between their message and the code of the system."""
    said = (
        "FAILED_PRECONDITION: Error reading local file [source locations='tensorstore/kvstore/"
        "file.cc:380\\ntensorstore/driver/read.cc:7'] [os_error_code='22']"
    )

    def attempt(seconds: float) -> None:
        raise ValueError(said)

    with pytest.raises(DataError) as caught:
        outages.wait_out(
            attempt,
            volume="raw",
            part="voxels (0,) to (1,)",
            reading=Reading(timeout_s=1),
            grace_s=lambda error: 0,
            advice=lambda error: ". Restore it",
        )

    assert str(caught.value) == (
        "raw: cannot read voxels (0,) to (1,): FAILED_PRECONDITION: Error reading local file "
        "[os_error_code='22']. Restore it"
    )

"""Snapshots, as a public reader sees them."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import zarr
from ome_zarr.io import parse_url
from ome_zarr.reader import Multiscales, Reader

from trainers.errors import LeaseLostError
from trainers.snapshots import SnapshotWriter, snapshot_writer

VOXEL_SIZE_NM = (40.0, 4.0, 4.0)
OFFSET_NM = (120.0, 20.0, 20.0)
ORIGIN = (0.0, 0.0, 0.0)


def volume(shape: tuple[int, ...], dtype: str) -> npt.NDArray[Any]:
    return np.arange(np.prod(shape)).reshape(shape).astype(dtype)


ARRAYS = {
    "raw": volume((2, 10, 14, 14), "float32"),
    "gt": volume((4, 4, 4), "uint64") + np.uint64(2**53 + 1),
    "target": volume((3, 4, 4, 4), "float32"),
    "weight": volume((3, 4, 4, 4), "float32"),
    "prediction": volume((3, 4, 4, 4), "float32"),
    "gradients": -volume((3, 4, 4, 4), "float32"),
    "mask": volume((4, 4, 4), "uint8"),
}
OFFSETS_NM = {name: OFFSET_NM for name in ARRAYS} | {"raw": ORIGIN}


def take(folder: Path, iteration: int = 100, **changed: npt.NDArray[Any]) -> None:
    writer = SnapshotWriter(folder)
    writer.submit(iteration, ARRAYS | changed, voxel_size_nm=VOXEL_SIZE_NM, offsets_nm=OFFSETS_NM)
    writer.close()


@pytest.mark.parametrize("name", list(ARRAYS))
def test_public_reader_opens_every_image(tmp_path: Path, name: str) -> None:
    """ome-zarr-py finds an image of the right values, axes, scale and place."""
    take(tmp_path / "snapshots.zarr")

    location = parse_url(tmp_path / "snapshots.zarr" / "100" / name)
    assert location is not None
    (node,) = Reader(location)()

    (data,) = node.data
    image = node.metadata
    array = ARRAYS[name]
    has_channels = name not in ("gt", "mask")
    axes = [axis["name"] for axis in image["axes"]]
    ((scale, translation),) = image["coordinateTransformations"]
    assert Multiscales.matches(location)
    assert np.array_equal(data.compute(), array)
    assert data.dtype == array.dtype
    assert axes == (["c", "z", "y", "x"] if has_channels else ["z", "y", "x"])
    assert {axis.get("unit") for axis in image["axes"] if axis["type"] == "space"} == {"nanometer"}
    assert scale["scale"] == [1.0] * has_channels + [40.0, 4.0, 4.0]
    corner = [0.0, 0.0, 0.0] if name == "raw" else [120.0, 20.0, 20.0]
    assert translation["translation"] == [0.0] * has_channels + corner


def test_the_container_is_a_zarr_hierarchy(tmp_path: Path) -> None:
    """zarr walks from the container over the iterations to the arrays."""
    take(tmp_path / "snapshots.zarr", 0)
    take(tmp_path / "snapshots.zarr", 100)

    container = zarr.open_group(str(tmp_path / "snapshots.zarr"), mode="r")

    assert sorted(container.group_keys()) == ["0", "100"]
    assert sorted(container["100"].group_keys()) == sorted(ARRAYS)
    assert container["100/gt/0"][0, 0, 0] == 2**53 + 1


def test_images_in_2d_have_no_z(tmp_path: Path) -> None:
    """In 2-D the axes are y and x, with c before them where there are channels."""
    writer = SnapshotWriter(tmp_path / "snapshots.zarr")
    writer.submit(
        5,
        {"raw": volume((1, 6, 8), "float32"), "gt": volume((4, 4), "uint32")},
        voxel_size_nm=(2.0, 3.0),
        offsets_nm={"raw": (0.0, 0.0), "gt": (2.0, 6.0)},
    )
    writer.close()

    group = zarr.open_group(str(tmp_path / "snapshots.zarr" / "5"), mode="r")

    def axes(name: str) -> str:
        return "".join(axis["name"] for axis in group[name].attrs["multiscales"][0]["axes"])

    assert (axes("raw"), axes("gt")) == ("cyx", "yx")


def test_a_snapshot_that_exists_stays(tmp_path: Path) -> None:
    """An iteration that comes again after a kill is not written twice."""
    take(tmp_path / "snapshots.zarr")
    take(tmp_path / "snapshots.zarr", mask=ARRAYS["mask"] * np.uint8(0))

    container = zarr.open_group(str(tmp_path / "snapshots.zarr"), mode="r")

    assert np.array_equal(container["100/mask/0"], ARRAYS["mask"])


def test_what_a_kill_left_half_written_is_removed(tmp_path: Path) -> None:
    """A new writer sweeps the remains of an earlier one."""
    remains = tmp_path / "snapshots.zarr" / ".tmp-100" / "raw"
    remains.mkdir(parents=True)

    take(tmp_path / "snapshots.zarr")

    names = {path.name for path in (tmp_path / "snapshots.zarr").iterdir()}
    assert names == {".zgroup", "100"}


def test_a_failure_is_told_and_does_no_harm(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """When nothing can be written, the caller sees a warning per snapshot and nothing else."""
    (tmp_path / "snapshots.zarr").write_text("in the way")

    with caplog.at_level(logging.WARNING):
        take(tmp_path / "snapshots.zarr")

    (record,) = caplog.records
    assert "cannot write the snapshot of iteration 100" in record.message


def test_no_snapshot_is_skipped_when_many_come_at_once(tmp_path: Path) -> None:
    """A writer that is behind makes the caller wait; it drops nothing, and its thread ends."""
    writer = SnapshotWriter(tmp_path / "snapshots.zarr")
    for iteration in range(8):
        writer.submit(iteration, ARRAYS, voxel_size_nm=VOXEL_SIZE_NM, offsets_nm=OFFSETS_NM)
    writer.close()

    container = zarr.open_group(str(tmp_path / "snapshots.zarr"), mode="r")

    assert sorted(container.group_keys()) == ["0", "1", "2", "3", "4", "5", "6", "7"]
    assert not [t for t in threading.enumerate() if t.name.startswith("snapshots")]


def test_a_disk_that_hangs_costs_snapshots_and_no_training(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that are not waited for are named, and the end does not wait for the others."""
    monkeypatch.setattr(snapshot_writer, "MAX_WAIT_S", 0.1)
    (tmp_path / "snapshots.zarr").mkdir()
    is_back = threading.Event()

    def hang() -> None:
        assert is_back.wait(60)

    writer = SnapshotWriter(tmp_path / "snapshots.zarr", fence=hang)
    for iteration in range(4):
        writer.submit(iteration, ARRAYS, voxel_size_nm=VOXEL_SIZE_NM, offsets_nm=OFFSETS_NM)
    writer.close()

    assert [record.getMessage() for record in caplog.records] == [
        "no snapshot of iteration 2: earlier ones are not written",
        "no snapshot of iteration 3: earlier ones are not written",
        f"the last snapshots are not written: {tmp_path / 'snapshots.zarr'} hangs",
    ]
    is_back.set()


def test_a_writer_that_was_passed_over_writes_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What its fence does not let pass costs a warning, and leaves no trace."""
    take(tmp_path / "snapshots.zarr")

    def refuse_after(num_passes: int) -> Callable[[], None]:
        passes = iter(range(num_passes))

        def fence() -> None:
            if next(passes, None) is None:
                raise LeaseLostError("taken over")

        return fence

    for num_passes in (2, 3):  # two go to the sweep at the beginning
        writer = SnapshotWriter(tmp_path / "snapshots.zarr", fence=refuse_after(num_passes))
        writer.submit(200, ARRAYS, voxel_size_nm=VOXEL_SIZE_NM, offsets_nm=OFFSETS_NM)
        writer.close()

    assert {path.name for path in (tmp_path / "snapshots.zarr").iterdir()} == {".zgroup", "100"}
    assert len(caplog.records) == 2

"""Voxels, as they come out of every format."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gunpowder import Coordinate, Roi

from tests.trainers.datasets.volumes import (
    Voxels,
    counting,
    write_n5,
    write_precomputed,
    write_zarr2,
    write_zarr3,
)
from trainers.datasets.array import Array
from trainers.datasets.array_info import read_array_info
from trainers.datasets.dataset_config import AbsentChunks, ArrayConfig
from trainers.datasets.read_options import Reading
from trainers.errors import DataError, DataUnavailableError

VOXELS = counting((5, 6, 7), "uint16")
EVERYWHERE = Roi((0, 0, 0), (5, 6, 7))


def open_array(
    path: Path, *, voxel_size: tuple[int, ...] = (1, 1, 1), absent_chunks: AbsentChunks = "error"
) -> Array:
    config = ArrayConfig(
        path=path,
        voxel_size_nm=voxel_size,
        offset_nm=(0,) * len(voxel_size),
        absent_chunks=absent_chunks,
    )
    offset = Coordinate(voxel_size) * 0
    return Array(read_array_info(config), voxel_size=Coordinate(voxel_size), offset=offset)


def write_sharded_zarr3(folder: Path, voxels: Voxels) -> None:
    write_zarr3(folder, voxels, sharded=True)


def write_offset_precomputed(folder: Path, voxels: Voxels) -> None:
    write_precomputed(folder, voxels, voxel_offset_xyz=(10, 20, 30))


def write_sharded_precomputed(folder: Path, voxels: Voxels) -> None:
    write_precomputed(folder, voxels, sharded=True)


FORMATS = [
    write_zarr2,
    write_zarr3,
    write_sharded_zarr3,
    write_n5,
    write_precomputed,
    write_offset_precomputed,
    write_sharded_precomputed,
]


@pytest.mark.parametrize("write", FORMATS)
def test_every_format_gives_the_same_voxels(tmp_path: Path, write: Any) -> None:
    """Voxels come in z, y, x order, in the stored type and contiguous, whatever the format."""
    write(tmp_path, VOXELS)
    array = open_array(tmp_path)

    assert array.roi == EVERYWHERE
    voxels = array[EVERYWHERE]
    assert voxels.dtype == array.dtype == np.uint16
    assert voxels.flags.c_contiguous
    np.testing.assert_array_equal(voxels, VOXELS)
    np.testing.assert_array_equal(array[Roi((1, 2, 3), (3, 3, 2))], VOXELS[1:4, 2:5, 3:5])


@pytest.mark.parametrize("stored_axes", ["czyx", "zyxc", "xcyz"])
def test_channels_come_first(tmp_path: Path, stored_axes: str) -> None:
    """Channels come first in memory, wherever they are stored."""
    voxels = counting((2, 3, 4, 5))
    order = ["czyx".index(axis) for axis in stored_axes]
    write_zarr2(tmp_path, voxels.transpose(order), axis_names=list(stored_axes))
    array = open_array(tmp_path)

    assert (array.axes, array.num_channels) == (("c", "z", "y", "x"), 2)
    np.testing.assert_array_equal(array[Roi((0, 1, 1), (3, 2, 4))], voxels[:, :, 1:3, 1:5])


def test_precomputed_channels(tmp_path: Path) -> None:
    """The channels of a precomputed volume, which are stored last, come first."""
    voxels = counting((3, 2, 4, 5))
    write_precomputed(tmp_path, voxels)

    np.testing.assert_array_equal(open_array(tmp_path)[Roi((0, 0, 0), (2, 4, 5))], voxels)


def test_axes_of_length_1_vanish(tmp_path: Path) -> None:
    """Time and channel axes of length 1 are not there in memory."""
    voxels = counting((4, 5))
    write_zarr2(tmp_path, voxels[None, None], axis_names=["t", "c", "y", "x"])
    array = open_array(tmp_path, voxel_size=(1, 1))

    assert (array.axes, array.num_channels) == (("y", "x"), None)
    np.testing.assert_array_equal(array[Roi((0, 0), (4, 5))], voxels)


def test_world_coordinates(tmp_path: Path) -> None:
    """Regions are in world units; one that sticks out, or ends between voxels, is refused."""
    write_zarr2(tmp_path, VOXELS)
    array = open_array(tmp_path, voxel_size=(40, 4, 8))

    assert array.roi == Roi((0, 0, 0), (200, 24, 56))
    np.testing.assert_array_equal(array[Roi((40, 8, 0), (80, 4, 16))], VOXELS[1:3, 2:3, :2])
    with pytest.raises(ValueError, match="not a whole number of voxels"):
        array.begin_read(Roi((20, 0, 0), (40, 4, 8)))
    for outside in (Roi((-40, 0, 0), (80, 4, 8)), Roi((0, 0, 0), (240, 4, 8))):
        with pytest.raises(ValueError, match="is not inside"):
            array.begin_read(outside)


@pytest.mark.parametrize("write", FORMATS)
def test_large_labels_are_exact(tmp_path: Path, write: Any) -> None:
    """Ids that no float can hold come out as they went in."""
    ids = np.array([[[2**31, 2**32 + 5, 2**53 + 1, 2**64 - 1]]], np.uint64)
    write(tmp_path, ids)

    assert open_array(tmp_path)[Roi((0, 0, 0), (1, 1, 4))].ravel().tolist() == [
        2147483648,
        4294967301,
        9007199254740993,
        18446744073709551615,
    ]


@pytest.mark.parametrize("dtype", [">u2", "|b1", "<f2", "<f4", ">f8", "<i8"])
def test_types(tmp_path: Path, dtype: str) -> None:
    """Voxels have the machine's byte order, whichever one is stored."""
    write_zarr2(tmp_path, VOXELS.astype(dtype))

    voxels = open_array(tmp_path)[EVERYWHERE]
    assert voxels.dtype == np.dtype(dtype).newbyteorder("=")
    np.testing.assert_array_equal(voxels, VOXELS.astype(dtype))


def test_chunks_that_were_never_written_hold_the_fill_value_if_that_is_allowed(
    tmp_path: Path,
) -> None:
    """In zarr, it is in the metadata."""
    write_zarr2(tmp_path, VOXELS)
    metadata = (tmp_path / ".zarray").read_text()
    (tmp_path / ".zarray").write_text(metadata.replace('"fill_value":null', '"fill_value":7'))
    (tmp_path / "0/0/0").unlink()

    voxels = open_array(tmp_path, absent_chunks="fill")[EVERYWHERE]
    assert (voxels[:4, :4, :4] == 7).all()
    np.testing.assert_array_equal(voxels[4:], VOXELS[4:])


def test_an_array_without_any_chunk_is_refused_in_any_case(tmp_path: Path) -> None:
    """As if it were on a file system that is not mounted."""
    write_zarr2(tmp_path, VOXELS)
    shutil.rmtree(tmp_path / "0")
    shutil.rmtree(tmp_path / "1")

    with pytest.raises(DataError, match="none of its chunks exists"):
        open_array(tmp_path, absent_chunks="fill")[EVERYWHERE]


def test_array_that_vanished(tmp_path: Path) -> None:
    """An array that is gone when it is opened, and stays so, is named."""
    write_zarr2(tmp_path / "raw", VOXELS)
    array = open_array(tmp_path / "raw")
    array.reading = Reading(timeout_s=0.5)
    (tmp_path / "raw").rename(tmp_path / "elsewhere")

    with pytest.raises(
        DataUnavailableError, match=f"{tmp_path}/raw: cannot read its metadata, tried for .* NOT_F"
    ):
        array.begin_read(EVERYWHERE)


def test_an_open_array_can_be_pickled(tmp_path: Path) -> None:
    """A copy that went through pickle opens the files again."""
    write_zarr2(tmp_path, VOXELS)
    array = open_array(tmp_path)
    before = array[EVERYWHERE]

    copy = pickle.loads(pickle.dumps(array))
    assert copy.roi == array.roi
    np.testing.assert_array_equal(copy[EVERYWHERE], before)


def test_reads_overlap(tmp_path: Path) -> None:
    """Several reads may be under way; each gives its own region, in whatever order one waits."""
    write_zarr2(tmp_path, VOXELS)
    array = open_array(tmp_path)

    waits = [array.begin_read(Roi((z, 0, 0), (1, 6, 7))) for z in range(5)]
    for z in (3, 0, 4, 1, 2):
        np.testing.assert_array_equal(waits[z](), VOXELS[z : z + 1])


def test_odd_folder_names(tmp_path: Path) -> None:
    """Quotes, blanks and newlines in a path do no harm."""
    folder = tmp_path / "a 'b' \"c\"\n%20?#d.zarr"
    write_zarr2(folder, VOXELS)

    np.testing.assert_array_equal(open_array(folder)[EVERYWHERE], VOXELS)

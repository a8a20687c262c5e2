"""Datasets: one world for all arrays."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gunpowder import Coordinate, Roi

from tests.trainers.datasets.volumes import counting, write_precomputed, write_zarr2
from trainers.datasets.dataset_config import ArrayConfig, DatasetConfig
from trainers.errors import DataError

RAW = counting((8, 8, 8), "uint16")


def config(folder: Path, *arrays: str, **values: Any) -> DatasetConfig:
    """A dataset of arrays that lie in one container under their keys."""
    configs: dict[str, Any] = {key: ArrayConfig(path=folder, array=key) for key in ("raw", *arrays)}
    return DatasetConfig(name="fly", **configs, **values)


def test_raw_begins_at_0(tmp_path: Path) -> None:
    """The world has its zero at raw's first voxel; the other arrays keep their distance to it."""
    write_zarr2(tmp_path / "raw", RAW, voxel_size=[40, 4, 4], offset=[400, 40, 12])
    write_zarr2(tmp_path / "gt", RAW[:4, :3, :2], voxel_size=[40, 4, 4], offset=[480, 36, 12])
    write_zarr2(tmp_path / "mask", RAW, voxel_size=[40, 4, 4], offset=[400, 40, 16])

    dataset = config(tmp_path, "gt", "mask").build()
    assert dataset.units_per_nm == 1
    assert dataset.raw.roi == Roi((0, 0, 0), (320, 32, 32))
    assert dataset.gt is not None
    assert dataset.gt.roi == Roi((80, -4, 0), (160, 12, 8))
    assert dataset.mask is not None
    assert dataset.mask.roi == Roi((0, 0, 4), (320, 32, 32))


@pytest.mark.parametrize(
    ("voxel_size_nm", "units_per_nm", "world"),
    [
        ((40, 4, 4), 1, (40, 4, 4)),
        ((5.5, 4, 4), 10, (55, 40, 40)),
        ((5.24, 4, 4), 100, (524, 400, 400)),
        ((0.125, 0.125, 0.25), 1000, (125, 125, 250)),
    ],
)
def test_voxel_sizes_with_decimals(
    tmp_path: Path,
    voxel_size_nm: tuple[float, ...],
    units_per_nm: int,
    world: tuple[int, ...],
) -> None:
    """The world's unit is as small as the voxel sizes need it."""
    write_zarr2(tmp_path / "raw", RAW, voxel_size=voxel_size_nm)

    dataset = config(tmp_path).build()
    assert dataset.units_per_nm == units_per_nm
    assert dataset.raw.voxel_size == Coordinate(world)
    block = dataset.raw[Roi(Coordinate(world), Coordinate(world) * 2)]
    np.testing.assert_array_equal(block, RAW[1:3, 1:3, 1:3])


def test_voxel_sizes_without_end(tmp_path: Path) -> None:
    """325/3 nm is the same size however it was rounded, and labels lie on raw's voxels."""
    write_zarr2(tmp_path / "raw", RAW, voxel_size=[108.333, 16.25, 16.25])
    write_zarr2(
        tmp_path / "gt",
        RAW[2:],
        voxel_size=[325 / 3, 16.250000953674316, 16.25],
        offset=[650 / 3, 0, 0],
    )

    dataset = config(tmp_path, "gt").build()
    assert dataset.units_per_nm == 1000
    assert dataset.gt is not None
    assert dataset.gt.voxel_size == dataset.raw.voxel_size == (108333, 16250, 16250)
    np.testing.assert_array_equal(dataset.raw[dataset.gt.roi], dataset.gt[dataset.gt.roi])


def test_a_single_plane(tmp_path: Path) -> None:
    """It is an image to a network of two axes, in all arrays and for points."""
    for name in ("raw", "gt"):
        write_zarr2(tmp_path / name, RAW[:1], voxel_size=[40, 4, 4])
    points = tmp_path / "points.csv"
    points.write_text("y,x\n6,6\n")

    dataset = config(tmp_path, "gt", sample_points=points).build(num_axes=2)
    assert dataset.raw.roi == Roi((0, 0), (32, 32))
    np.testing.assert_array_equal(dataset.raw[dataset.raw.roi], RAW[0])


def test_voxel_size_with_too_many_decimals(tmp_path: Path) -> None:
    """A voxel size that no unit makes whole is refused."""
    write_zarr2(tmp_path / "raw", RAW, voxel_size=[40, 4.1667, 4.1667])

    with pytest.raises(DataError, match=r"\[4\.1667, 40\.0\] nm; at most three decimals"):
        config(tmp_path).build()


def test_slightly_off_the_grid(tmp_path: Path) -> None:
    """A hundredth of a voxel is forgiven, more is not."""
    write_zarr2(tmp_path / "raw", RAW, voxel_size=[10, 10, 10])
    write_zarr2(tmp_path / "gt", RAW, voxel_size=[10, 10, 10], offset=[20.09, 0, 0])
    dataset = config(tmp_path, "gt").build()
    assert dataset.gt is not None
    assert dataset.gt.roi.begin == (20, 0, 0)

    write_zarr2(tmp_path / "mask", RAW, voxel_size=[10, 10, 10], offset=[25, 0, 0])
    with pytest.raises(DataError) as caught:
        config(tmp_path, "mask", "gt").build()
    assert str(caught.value) == (
        "dataset 'fly' does not fit together: mask: begins at [25.0, 0.0, 0.0] nm, which is "
        "[2.5, 0.0, 0.0] voxels from raw's [0.0, 0.0, 0.0] nm; it must be whole voxels away; the "
        "nearest such place is `offset_nm: [20.0, 0.0, 0.0]`, which moves the array; or resample it"
    )


def test_arrays_of_different_formats(tmp_path: Path) -> None:
    """Voxels of a zarr array and of a precomputed volume meet at the same place."""
    write_zarr2(tmp_path / "raw", RAW, voxel_size=[40, 4, 4])
    gt = RAW[2:6, 1:5, 3:7]
    write_precomputed(tmp_path / "gt", gt, voxel_offset_xyz=(3, 1, 2))
    raw = ArrayConfig(path=tmp_path / "raw")
    dataset = DatasetConfig(name="fly", raw=raw, gt=ArrayConfig(path=tmp_path / "gt")).build()

    assert dataset.gt is not None
    region = Roi((120, 8, 16), (40, 8, 4))
    np.testing.assert_array_equal(dataset.gt[region], dataset.raw[region])


def test_sample_points(tmp_path: Path) -> None:
    """Points come in world units, counted from raw's first voxel; those beside gt are left out."""
    write_zarr2(tmp_path / "raw", RAW, voxel_size=[5.5, 4, 4], offset=[110, 0, 0])
    write_zarr2(tmp_path / "gt", RAW[:4], voxel_size=[5.5, 4, 4], offset=[110, 0, 0])
    points = tmp_path / "points.csv"
    points.write_text("z,y,x\n121,6,0\n143,6,0\n109,6,0\n")

    with_gt = config(tmp_path, "gt", sample_points=points).build()
    assert with_gt.sample_points is not None
    assert with_gt.sample_points.tolist() == [[110.0, 60.0, 0.0]]
    without_gt = config(tmp_path, sample_points=points).build()
    assert without_gt.sample_points is not None
    assert len(without_gt.sample_points) == 3

    points.write_text("z,y,x\n0,0,0\n")
    with pytest.raises(DataError, match=r"none of the 1 points in .* lies in the ground truth"):
        config(tmp_path, "gt", sample_points=points).build()


def test_pickling(tmp_path: Path) -> None:
    """A dataset whose arrays were read from can be sent to another process."""
    write_zarr2(tmp_path / "raw", RAW, voxel_size=[4, 4, 4])
    dataset = config(tmp_path).build()
    before = dataset.raw[dataset.raw.roi]

    copy = pickle.loads(pickle.dumps(dataset))
    np.testing.assert_array_equal(copy.raw[copy.raw.roi], before)
    assert (copy.name, copy.weight, copy.units_per_nm) == ("fly", 1, 1)
    assert copy.gt is copy.mask is copy.sample_points is None

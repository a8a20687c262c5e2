"""The volumes in examples/data."""

from __future__ import annotations

import numpy as np
import pytest

from scripts.workloads.checkout import ROOT
from trainers.datasets.array_info import read_array_info
from trainers.datasets.dataset import Dataset
from trainers.datasets.dataset_config import ArrayConfig, DatasetConfig

DATA = ROOT / "examples" / "data"
VOLUMES = ("fib25.zarr", "fib25_heldout.zarr")


def open_sample(volume: str) -> Dataset:
    raw, gt, mask = (
        ArrayConfig(path=DATA / volume, array=f"{name}/s0") for name in ("raw", "labels", "mask")
    )
    return DatasetConfig(name=volume, raw=raw, gt=gt, mask=mask).build()


@pytest.mark.parametrize(
    ("volume", "shape", "offset_nm", "num_bodies"),
    [
        ("fib25.zarr", (104, 176, 176), (0, 370, 370), 126),
        ("fib25_heldout.zarr", (64, 104, 104), (1120, 730, 730), 32),
    ],
)
def test_contents(
    volume: str, shape: tuple[int, ...], offset_nm: tuple[int, ...], num_bodies: int
) -> None:
    """Electron microscopy at 10 nm, in which every voxel belongs to a neuron."""
    sample = open_sample(volume)

    assert sample.gt is not None
    assert sample.mask is not None
    info = sample.raw.info
    assert (info.shape, info.offset_nm, info.voxel_size_nm) == (shape, offset_nm, (10, 10, 10))
    assert sample.gt.roi == sample.mask.roi == sample.raw.roi
    assert (sample.raw.dtype, sample.gt.dtype) == (np.dtype("uint8"), np.dtype("uint64"))
    assert len(np.unique(sample.gt[sample.gt.roi])) == num_bodies
    assert sample.mask[sample.mask.roi].all()
    assert 30 < sample.raw[sample.raw.roi].std() < 36


def test_training_never_sees_the_held_out_part() -> None:
    """At least five sections lie between the two volumes."""
    training, held_out = (
        read_array_info(ArrayConfig(path=DATA / volume, array="raw/s0")) for volume in VOLUMES
    )

    end_nm = training.offset_nm[0] + training.shape[0] * training.voxel_size_nm[0]
    assert held_out.offset_nm[0] - end_nm >= 5 * held_out.voxel_size_nm[0]


def test_small_and_licensed() -> None:
    """All of it takes at most 4 MB, and says where it comes from and under which licence."""
    files = [path for path in DATA.rglob("*") if path.is_file()]

    assert sum(path.stat().st_size for path in files) <= 4_000_000
    assert "CREATIVE COMMONS" in (DATA / "LICENSE.txt").read_text()
    assert "CC BY" in (DATA / "PROVENANCE.md").read_text()

"""Small datasets and the streams of their samples."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy.typing as npt
import pytest
import tensorstore as ts

from trainers.datasets.dataset import Dataset
from trainers.datasets.dataset_config import ArrayConfig, DatasetConfig
from trainers.stream.stream_spec import StreamSpec
from trainers.tasks.affinities_predictor import AffinitiesPredictor

MakeDataset = Callable[..., Dataset]


@pytest.fixture(autouse=True)
def user_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes `custom_augments` importable, in workers too."""
    monkeypatch.syspath_prepend(Path(__file__).parent)


@pytest.fixture
def make_dataset(tmp_path: Path) -> MakeDataset:
    """Writes small zarr arrays and opens them as a dataset; offsets are in voxels."""

    def make(
        raw: npt.NDArray[Any],
        gt: npt.NDArray[Any] | None,
        mask: npt.NDArray[Any] | None = None,
        *,
        name: str = "tiny",
        voxel_size_nm: Sequence[float] | None = None,
        gt_offset: Sequence[int] | None = None,
        points_nm: Sequence[Sequence[float]] = (),
        weight: int = 1,
    ) -> Dataset:
        spatial = raw.ndim if gt is None else gt.ndim
        size = tuple(voxel_size_nm or (8.0,) * spatial)
        offset = tuple(gt_offset or (0,) * spatial)
        container = Path(tempfile.mkdtemp(suffix=".zarr", dir=tmp_path))

        def write(array: npt.NDArray[Any], key: str, voxels: Sequence[int]) -> ArrayConfig:
            spec = {
                "driver": "zarr",
                "kvstore": {"driver": "file", "path": f"{container / key}/"},
                "metadata": {"chunks": [16] * array.ndim},
            }
            ts.open(spec, create=True, dtype=array.dtype, shape=array.shape).result()[...] = array
            channels = ["c"] * (array.ndim - spatial)
            axes = [*channels, *["z", "y", "x"][-spatial:]]
            (container / key / ".zattrs").write_text(json.dumps({"axis_names": axes}))
            return ArrayConfig(
                path=container,
                array=key,
                voxel_size_nm=size,
                offset_nm=tuple(at * step for at, step in zip(voxels, size, strict=True)),
            )

        points = None
        if points_nm:
            points = container / "points.csv"
            rows = [["z", "y", "x"][-spatial:], *points_nm]
            points.write_text("\n".join(",".join(map(str, row)) for row in rows) + "\n")
        return DatasetConfig(
            name=name,
            raw=write(raw, "raw", (0,) * spatial),
            gt=None if gt is None else write(gt, "gt", offset),
            mask=None if mask is None else write(mask, "mask", offset),
            weight=weight,
            sample_points=points,
        ).build()

    return make


@pytest.fixture
def spec_of() -> Callable[..., StreamSpec]:
    """A stream of 3-D affinities from datasets, with small blocks unless told otherwise."""

    def spec(*datasets: Dataset, **changes: Any) -> StreamSpec:
        settings: dict[str, Any] = {
            "input_shape": (12, 12, 12),
            "output_shape": (6, 6, 6),
            "predictor": AffinitiesPredictor(((1, 0, 0), (0, 1, 0), (0, 0, 1), (0, 0, -3))),
            "seed": 7,
            "batch_size": 2,
        }
        return StreamSpec(datasets=datasets, **(settings | changes))

    return spec

"""What the dry run tells of volumes."""

from __future__ import annotations

import re
from pathlib import Path

from launcher.experiment.experiment import read_experiment
from launcher.submission.data_report import arrays_json, arrays_of, arrays_text
from scripts.workloads.empty_volume import (
    DATASET_AND_TASK,
    NETWORK_AND_TRAINER,
    write_empty_volume,
)


def test_what_was_understood_is_shown_once(tmp_path: Path, monkeypatch) -> None:
    """Voxel size, shape, extent, type and axes of each array, however many runs read it."""
    monkeypatch.chdir(tmp_path)
    write_empty_volume(tmp_path / "volume.zarr")
    text = f"name: cells\nnum_iterations: 1\n{DATASET_AND_TASK}{NETWORK_AND_TRAINER}"
    Path("cells.yaml").write_text(f"{text}sweep: {{seed: [1, 2]}}\n")
    runs = read_experiment(Path("cells.yaml")).runs

    header, *rows = arrays_text(arrays_of(runs)).split("\n")
    assert header.split("  ")[0] == "DATASET"
    extent = "0, 0, 0 to 64, 64, 64"
    assert [re.split(" {2,}", row) for row in rows] == [
        ["empty", "raw", "8 x 8 x 8", "8 x 8 x 8", extent, "uint8", "z y x", "volume.zarr/raw"],
        ["empty", "gt", "8 x 8 x 8", "8 x 8 x 8", extent, "uint64", "z y x", "volume.zarr/labels"],
    ]


def test_the_same_as_data(tmp_path: Path, monkeypatch) -> None:
    """With unrounded figures."""
    monkeypatch.chdir(tmp_path)
    write_empty_volume(tmp_path / "volume.zarr")
    text = f"name: cells\nnum_iterations: 1\n{DATASET_AND_TASK}{NETWORK_AND_TRAINER}"
    Path("cells.yaml").write_text(text)

    raw, gt = arrays_json(arrays_of(read_experiment(Path("cells.yaml")).runs))
    assert (raw["array"], gt["array"]) == ("raw", "gt")
    assert raw["voxel_size_nm"] == [8.0, 8.0, 8.0]
    assert (raw["begin_nm"], raw["end_nm"]) == ([0.0] * 3, [64.0] * 3)
    assert (raw["dtype"], raw["stored_axes"], raw["value_range"]) == (
        "uint8",
        ["z", "y", "x"],
        [0.0, 255.0],
    )

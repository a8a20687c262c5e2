"""A volume for runs that learn nothing."""

from __future__ import annotations

import json
from pathlib import Path

DATASET_AND_TASK = """\
datasets:
  - name: empty
    raw: {path: volume.zarr, array: raw}
    gt: {path: volume.zarr, array: labels}
task: {kind: affinities, neighborhood: [[1, 0, 0]]}
"""
"""Of an experiment file beside the volume, which is named `volume.zarr`."""
NETWORK_AND_TRAINER = """\
architecture:
  kind: custom
  import_path: torch.nn:Conv3d
  arguments: {out_channels: 1, kernel_size: 1}
  input_shape: [1, 1, 1]
trainer: {kind: dummy, batch_size: 1, learning_rate: 1e-2, mirror_augment: true}
"""
"""Of the smallest run that there is; iterations take no time."""


def write_empty_volume(folder: Path) -> None:
    """Make `raw` and `labels`."""
    write_array(folder / "raw", "|u1")
    write_array(folder / "labels", "<u8")


def write_array(path: Path, dtype: str, side: int = 8, chunk: int = 8) -> None:
    """A zarr array that is a cube of zeros, none of them stored."""
    path.mkdir(parents=True)
    array = {
        "zarr_format": 2,
        "shape": [side] * 3,
        "chunks": [chunk] * 3,
        "dtype": dtype,
        "fill_value": 0,
        "order": "C",
        "compressor": None,
        "filters": None,
    }
    (path / ".zarray").write_text(json.dumps(array))
    attributes = {"voxel_size": [8, 8, 8], "units": ["nm"] * 3, "axis_names": ["z", "y", "x"]}
    (path / ".zattrs").write_text(json.dumps(attributes))

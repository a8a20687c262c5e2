"""A volume for runs that learn nothing."""

from __future__ import annotations

import json
from pathlib import Path


def write_empty_volume(folder: Path) -> None:
    """Make `raw` and `labels`."""
    _write_array(folder / "raw", "|u1")
    _write_array(folder / "labels", "<u8")


def _write_array(path: Path, dtype: str) -> None:
    """A zarr array of 8³ zeros, none of them stored."""
    path.mkdir(parents=True)
    array = {
        "zarr_format": 2,
        "shape": [8, 8, 8],
        "chunks": [8, 8, 8],
        "dtype": dtype,
        "fill_value": 0,
        "order": "C",
        "compressor": None,
        "filters": None,
    }
    (path / ".zarray").write_text(json.dumps(array))
    attributes = {"voxel_size": [8, 8, 8], "units": ["nm"] * 3, "axis_names": ["z", "y", "x"]}
    (path / ".zattrs").write_text(json.dumps(attributes))

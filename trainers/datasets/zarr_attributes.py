"""What users write beside zarr groups and arrays."""

from __future__ import annotations

from typing import Any

from trainers.datasets.json_file import read_json
from trainers.datasets.remote_path import VolumePath


def zarr_attributes(folder: VolumePath) -> dict[str, Any] | None:
    """The attributes of a zarr 2 or zarr 3 group or array; None if the folder is neither."""
    if (folder / "zarr.json").is_file():
        attributes: dict[str, Any] = read_json(folder / "zarr.json").get("attributes", {})
        return attributes
    if (folder / ".zattrs").is_file():
        return read_json(folder / ".zattrs")
    return {} if (folder / ".zgroup").is_file() or (folder / ".zarray").is_file() else None

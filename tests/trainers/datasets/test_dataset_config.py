"""Values that an array's config refuses."""

from __future__ import annotations

import math
from typing import Any

import pytest

from trainers.datasets.dataset_config import ArrayConfig


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"array": "/raw"}, "must be a path relative to the container, such as raw/s0; found /raw"),
        ({"array": "../raw"}, r"relative to the container, such as raw/s0; found \.\./raw"),
        ({"voxel_size_nm": (4, 0, 4)}, "'voxel_size_nm' must be > 0: 0"),
        ({"voxel_size_nm": (4, math.inf, 4)}, "must be < inf: inf"),
        ({"voxel_size_nm": (4,)}, "'voxel_size_nm' must be >= 2: 1"),
        ({"offset_nm": (0, 0, 0, 0)}, "'offset_nm' must be <= 3: 4"),
        ({"offset_nm": (0, math.nan)}, "must be > -inf: nan"),
        ({"scale": -1}, "'scale' must be >= 0: -1"),
        ({"axes": ("z", "y")}, "y and x among them, such as .*; found z, y"),
        ({"axes": ("y", "x", "x")}, "must name each stored axis once"),
        ({"time": -1}, "'time' must be >= 0: -1"),
        ({"channel": -1}, "'channel' must be >= 0: -1"),
        ({"offset_is": "middle"}, "'offset_is' must be in"),
        ({"value_range": (5, 5)}, r"with low below high; found \(5, 5\)"),
        ({"value_range": (0, math.nan)}, "with low below high"),
    ],
)
def test_bad_values(values: dict[str, Any], message: str) -> None:
    """Places outside of the container, and sizes and ranges that mean nothing, are refused."""
    with pytest.raises(ValueError, match=message):
        ArrayConfig(path="volume.zarr", **values)

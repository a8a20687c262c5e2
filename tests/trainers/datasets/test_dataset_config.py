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
        ({"value_range": (5, 5)}, r"with low below high; found \(5, 5\)"),
        ({"value_range": (0, math.nan)}, "with low below high"),
    ],
)
def test_bad_values(values: dict[str, Any], message: str) -> None:
    """Places outside of the container, and sizes and ranges that mean nothing, are refused."""
    with pytest.raises(ValueError, match=message):
        ArrayConfig(path="volume.zarr", **values)

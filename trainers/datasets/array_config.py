"""Where an array is stored, and what its files do not say about it."""

from __future__ import annotations

import math
from pathlib import PurePosixPath
from typing import Any

from attrs import field, frozen
from attrs.validators import and_, deep_iterable, gt, in_, lt, max_len, min_len, optional

from trainers.datasets.remote_path import VolumePath, volume_path

_TWO_OR_THREE: Any = and_(min_len(2), max_len(3))


def _stays_inside(instance: Any, attribute: Any, value: str) -> None:
    name = PurePosixPath(value)
    if name.is_absolute() or ".." in name.parts:
        raise ValueError(f"must be a path relative to the container, such as raw/s0; found {value}")


@frozen(kw_only=True)
class ArrayConfig:
    """A zarr 2, zarr 3, N5 or neuroglancer precomputed array.

    Spatial values are in z, y, x order (2-D: y, x), whatever the order in the files.
    """

    path: VolumePath = field(converter=volume_path)
    """The container, or the folder of the array itself; or the address of one, which begins with
    http://, https://, s3:// or gs://."""
    array: str = field(default="", validator=_stays_inside)
    """The array in the container; for a precomputed volume the key or the number of a scale."""
    voxel_size_nm: tuple[float, ...] | None = field(
        default=None,
        validator=optional(deep_iterable(and_(gt(0), lt(math.inf)), _TWO_OR_THREE)),
    )
    """Used instead of what the files say."""
    offset_nm: tuple[float, ...] | None = field(
        default=None,
        validator=optional(deep_iterable(and_(gt(-math.inf), lt(math.inf)), _TWO_OR_THREE)),
    )
    """Lower corner of the first voxel; used instead of what the files say."""
    value_range: tuple[float, float] | None = None
    """Raw values that become 0 and 1. None: the full range of an integer type; floats stay."""

    absent_chunks: str = field(default="error", validator=in_(("error", "fill")))
    """What it means that a chunk has no file: that it is lost, or that it was never written because
    all of it has the fill value."""

    def __attrs_post_init__(self) -> None:
        if self.value_range is not None and not self.value_range[0] < self.value_range[1]:
            raise ValueError(
                f"value_range must be [low, high] with low below high; found {self.value_range}"
            )

"""Which volumes a run is trained on, and how they are read."""

from __future__ import annotations

import math
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Literal, get_args

from attrs import field, frozen
from attrs.validators import and_, deep_iterable, ge, gt, in_, lt, max_len, min_len, optional

from trainers.datasets.remote_path import VolumePath, volume_path

if TYPE_CHECKING:
    from trainers.datasets.dataset import Dataset


_TWO_OR_THREE: Any = and_(min_len(2), max_len(3))


def _stays_inside(instance: Any, attribute: Any, value: str) -> None:
    name = PurePosixPath(value)
    if name.is_absolute() or ".." in name.parts:
        raise ValueError(f"must be a path relative to the container, such as raw/s0; found {value}")


AbsentChunks = Literal["error", "fill"]


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

    absent_chunks: AbsentChunks = field(default="error", validator=in_(get_args(AbsentChunks)))
    """What it means that a chunk has no file: that it is lost, or that it was never written because
    all of it has the fill value."""

    def __attrs_post_init__(self) -> None:
        if self.value_range is not None and not self.value_range[0] < self.value_range[1]:
            raise ValueError(
                f"value_range must be [low, high] with low below high; found {self.value_range}"
            )


_DEFAULT_SHARE = 4
"""By default one part of so many of a rank's memory."""
_DEFAULT_BYTES = 10**9
"""If it is not known how much memory there is."""


@frozen(kw_only=True)
class ReadingConfig:
    """Memory and patience; the samples do not depend on them."""

    cache_gb: float | None = field(default=None, validator=optional(ge(0)))
    """Decoded chunks that each rank keeps in memory, all of its volumes together. By default a
    quarter of the memory that the run has asked for; 0 keeps none."""
    timeout_s: float = field(default=120.0, validator=gt(0))
    """A read that takes longer, with all that is tried again, ends the attempt."""

    def cache_bytes(self, memory_bytes: int | None) -> int:
        """The size of the cache in a process that may use so much memory; None: not known."""
        if self.cache_gb is not None:
            return int(self.cache_gb * 1e9)
        return _DEFAULT_BYTES if memory_bytes is None else memory_bytes // _DEFAULT_SHARE


@frozen(kw_only=True)
class DatasetConfig:
    """A raw volume, and what is known about it."""

    name: str = field(validator=min_len(1))
    raw: ArrayConfig
    gt: ArrayConfig | None = None
    """Object ids or class numbers; 0 is background. Needed for training."""
    mask: ArrayConfig | None = None
    """Not 0 where the ground truth may be trusted. None: everywhere inside of the ground truth."""
    weight: int = field(default=1, validator=ge(1))
    """How often samples come from here, relative to the other datasets."""
    sample_points: Path | None = None
    """CSV file with the header z,y,x (2-D: y,x) and positions in nm, in the frame of the arrays.
    Samples are then taken around those of the points that lie in the ground truth."""

    @property
    def arrays(self) -> dict[str, ArrayConfig]:
        """The arrays that there are, under "raw", "gt" and "mask"."""
        arrays = {"raw": self.raw, "gt": self.gt, "mask": self.mask}
        return {key: array for key, array in arrays.items() if array is not None}

    def build(self) -> Dataset:
        from trainers.datasets.dataset import Dataset

        return Dataset(self)

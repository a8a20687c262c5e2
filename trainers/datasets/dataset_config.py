"""Configs of the volumes that a run is trained on, and of how they are read."""

from __future__ import annotations

import math
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Literal, get_args

from attrs import field, frozen
from attrs.validators import and_, deep_iterable, ge, gt, in_, lt, max_len, min_len, optional

from trainers.datasets.formats.stored_array import axis_name
from trainers.datasets.remote_path import VolumePath, volume_path

if TYPE_CHECKING:
    from trainers.datasets.dataset import Dataset


AbsentChunks = Literal["error", "fill"]
OffsetIs = Literal["corner", "center"]

_TWO_OR_THREE: Any = and_(min_len(2), max_len(3))
_DEFAULT_CACHE_SHARE = 4
"""By default, the cache gets one part in four of a rank's memory."""
_DEFAULT_CACHE_BYTES = 10**9
"""Where it is not known how much memory a rank has."""


def _stays_inside(instance: Any, attribute: Any, value: str) -> None:
    name = PurePosixPath(value)
    if name.is_absolute() or ".." in name.parts:
        raise ValueError(f"must be a path relative to the container, such as raw/s0; found {value}")


def _names_axes(_: Any, __: Any, axes: tuple[str, ...]) -> None:
    names = {axis_name(axis) for axis in axes}
    if len(names) != len(axes) or not {"y", "x"} <= names:
        raise ValueError(
            "must name each stored axis once, y and x among them, such as [t, c, z, y, x]; "
            f"found {', '.join(axes)}"
        )


@frozen(kw_only=True)
class ArrayConfig:
    """A zarr 2, zarr 3, N5 or neuroglancer precomputed array.

    Spatial values are in z, y, x order (2-D: y, x), whatever the order in the files. What is given
    here is not looked for in the files.
    """

    path: VolumePath = field(converter=volume_path)
    """The container, or the folder of the array itself: a path, which may hold environment
    variables, or a URL that begins with http://, https://, s3://, gs:// or file://."""
    array: str = field(default="", validator=_stays_inside)
    """The array in the container, or an image of several scales; for a precomputed volume, the key
    or the index of a scale."""
    scale: int | None = field(default=None, validator=optional(ge(0)))
    """The level of an image of several scales, 0 for the finest. None: the one that
    `voxel_size_nm` describes."""
    axes: tuple[str, ...] | None = field(default=None, validator=optional(_names_axes))
    """Names of the stored axes, in the order in which the files list the shape: z, y, x, c for
    channels, t for time. None: as the files say, or else the last of t, c, z, y, x."""
    time: int | None = field(default=None, validator=optional(ge(0)))
    """The time point to read, if there are several."""
    channel: int | None = field(default=None, validator=optional(ge(0)))
    """The only channel to read. None: all of them."""
    voxel_size_nm: tuple[float, ...] | None = field(
        default=None,
        validator=optional(deep_iterable(and_(gt(0), lt(math.inf)), _TWO_OR_THREE)),
    )
    """Overrides what the files say."""
    offset_nm: tuple[float, ...] | None = field(
        default=None,
        validator=optional(deep_iterable(and_(gt(-math.inf), lt(math.inf)), _TWO_OR_THREE)),
    )
    """Position of the first voxel: of its lower corner, unless `offset_is` says center. Overrides
    what the files say."""
    offset_is: OffsetIs | None = field(default=None, validator=optional(in_(get_args(OffsetIs))))
    """Which point of the first voxel the offset is, of the files or `offset_nm`. None: the corner;
    except that the levels of an image begin together, if their offsets are centers."""
    value_range: tuple[float, float] | None = None
    """Raw values that are mapped to 0 and 1. None: the full range of an integer dtype; floats are
    kept as they are."""
    absent_chunks: AbsentChunks = field(default="error", validator=in_(get_args(AbsentChunks)))
    """What a chunk without a file means: `error`, that it is lost; `fill`, that it was never
    written because all of it has the fill value. Files alone cannot tell the two apart."""

    def __attrs_post_init__(self) -> None:
        if self.value_range is not None and not self.value_range[0] < self.value_range[1]:
            raise ValueError(
                f"value_range must be [low, high] with low below high; found {self.value_range}"
            )


@frozen(kw_only=True)
class ReadingConfig:
    """Memory and timeout of reading; samples do not depend on them."""

    cache_gb: float | None = field(default=None, validator=optional(ge(0)))
    """Decoded chunks that each rank keeps in memory, for all its volumes together. By default a
    quarter of the memory that the run asks for; 0 keeps none."""
    timeout_s: float = field(default=120.0, validator=gt(0))
    """How long a run waits for a volume that is away, at its start and in every read, all retries
    included. Then it saves its state and ends, to be tried again as often as `retries.unavailable`
    allows."""

    def cache_bytes(self, memory_bytes: int | None) -> int:
        """Return the size of the cache of a process with this much memory; None: not known."""
        if self.cache_gb is not None:
            return int(self.cache_gb * 1e9)
        return (
            _DEFAULT_CACHE_BYTES if memory_bytes is None else memory_bytes // _DEFAULT_CACHE_SHARE
        )


@frozen(kw_only=True)
class DatasetConfig:
    """A raw volume with its labels."""

    name: str = field(validator=min_len(1))
    """As logs and errors call it; each dataset has another one."""
    raw: ArrayConfig
    """The images."""
    gt: ArrayConfig | None = None
    """Ground truth: object ids or class numbers; 0 is background. Required for training."""
    mask: ArrayConfig | None = None
    """Nonzero where the ground truth is known. None: everywhere inside the ground truth."""
    weight: int = field(default=1, validator=ge(1))
    """How often samples are drawn from here, relative to the other datasets."""
    sample_points: Path | None = None
    """CSV file with the header z,y,x (2-D: y,x) and positions in nm, in the frame of the arrays.
    Samples are then taken around the points that lie in the ground truth."""

    @property
    def arrays(self) -> dict[str, ArrayConfig]:
        """The arrays that are given, under "raw", "gt" and "mask"."""
        arrays = {"raw": self.raw, "gt": self.gt, "mask": self.mask}
        return {key: array for key, array in arrays.items() if array is not None}

    def build(self, num_axes: int = 3) -> Dataset:
        from trainers.datasets.dataset import Dataset

        return Dataset(self, num_axes)

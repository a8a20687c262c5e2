"""The metadata of an array, whatever its format, and what the readers of formats share."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from attrs import frozen

from trainers.datasets.remote_path import VolumePath
from trainers.errors import DataError, DataUnavailableError
from trainers.run.failure_class import may_come_back

T = TypeVar("T")

SPATIAL_AXES = ("z", "y", "x")
MALFORMED = (AttributeError, LookupError, OverflowError, TypeError, ValueError)
"""What the readers raise on metadata that are malformed in any way."""

_SAME_SIZE = 1e-5
"""Relative difference up to which voxel sizes are the same: 108.333 and 108.333333 nm."""
_NO_NAME = re.compile(r"dim_?\d+")
"""What xarray and zarr call an axis that has no name."""
_AXIS_NAMES = {"channel": "c", "channels": "c", "ch": "c", "time": "t"}
_NM_PER_UNIT = {
    "picometer": 1e-3,
    "pm": 1e-3,
    "angstrom": 0.1,
    "å": 0.1,
    "nanometer": 1.0,
    "nm": 1.0,
    "micrometer": 1e3,
    "micron": 1e3,
    "um": 1e3,
    "µm": 1e3,  # micro sign
    "μm": 1e3,  # Greek mu
    "millimeter": 1e6,
    "mm": 1e6,
    "centimeter": 1e7,
    "cm": 1e7,
    "meter": 1e9,
    "m": 1e9,
}


@frozen
class NotUnderstood:
    """Metadata that are malformed: a fault only if the config does not replace them."""

    problem: str


Values = tuple[float, ...] | NotUnderstood | None
"""One value per dimension, in TensorStore's order; None if the files do not say."""


@frozen(kw_only=True)
class Grid:
    """The positions of the voxels: one entry per dimension, in TensorStore's order."""

    axes: tuple[str, ...]
    scale: Values
    """Size of a voxel."""
    translation: Values
    """Position of the first voxel, as the files give it."""
    units: tuple[str | None, ...]
    """Units of scale and translation; None where the files do not say."""
    corner: tuple[float, ...] | None = None
    """Lower corner of the first voxel, where the files show that `translation` is its center."""

    @classmethod
    def from_lists(
        cls, axes: tuple[str, ...], *, scale: Any = None, translation: Any = None, units: Any = None
    ) -> Grid:
        """Make a grid from lists of one value per axis, or of one per spatial axis.

        Args:
            units: One for all axes, or a list.
        """
        if units is None or isinstance(units, str):
            units = [units] * len(axes)
        names = understood(lambda: _per_axis([each and str(each) for each in units], axes, None))
        malformed = names if isinstance(names, NotUnderstood) else None
        return cls(
            axes=axes,
            scale=malformed or understood(lambda: _numbers(scale, axes, 1.0)),
            translation=malformed or understood(lambda: _numbers(translation, axes, 0.0)),
            units=(None,) * len(axes) if isinstance(names, NotUnderstood) else names,
        )

    @classmethod
    def not_understood(cls, axes: tuple[str, ...], problem: NotUnderstood) -> Grid:
        return cls(axes=axes, scale=problem, translation=problem, units=(None,) * len(axes))


@frozen(kw_only=True)
class StoredArray:
    """The metadata of one array that decide about its voxels, and a reader of the others."""

    driver: str
    """TensorStore's name of the format."""
    scale_index: int | None = None
    """Index of the scale in a precomputed volume."""
    shape: tuple[int, ...]
    """One entry per dimension, in TensorStore's order."""
    dtype: str
    """Name of the dtype; not always one that NumPy knows."""
    metadata: Mapping[str, Any] | None = None
    """What TensorStore is to take for the stored metadata; None: it understands them."""
    read_grid: Callable[[], Grid]
    """Reads where the voxels are; called only if the config leaves something open."""


def understood(read: Callable[[], T]) -> T | NotUnderstood:
    """Return what `read` returns, or what it does not understand.

    Raises:
        DataUnavailableError: Something cannot be read at present.
    """
    try:
        return read()
    except DataUnavailableError:
        raise
    except DataError as error:
        return NotUnderstood(str(error))
    except MALFORMED as error:
        return NotUnderstood(problem_of(error))


def problem_of(error: Exception) -> str:
    """Return what is wrong with metadata, from one of `MALFORMED`."""
    return f"the key {error} is missing" if isinstance(error, KeyError) else str(error)


def read_json(path: VolumePath) -> dict[str, Any]:
    """Read the object in a JSON file.

    Raises:
        DataUnavailableError: The file cannot be read at present.
        DataError: It cannot be read at all, or holds something else.
    """
    try:
        data = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        kind = DataUnavailableError if may_come_back(error) else DataError
        raise kind(f"{path}: cannot be read as JSON: {error}") from error
    if not isinstance(data, dict):
        raise DataError(f"{path}: holds {type(data).__name__}; expected a JSON object")
    return data


def nm_per(unit: str) -> float | None:
    """Return how many nm a unit has; None if it is not a known unit of length."""
    name = unit.strip().lower().replace("metre", "meter")
    # Only full names have a plural: `ms` is no meter.
    return _NM_PER_UNIT.get(name if len(name) < 4 else name.removesuffix("s"))


def axis_name(name: str) -> str:
    """Normalize the name of an axis: `Z` is z, `c^` (funlib's) and `channel` are c."""
    name = name.strip().lower().removesuffix("^")
    return _AXIS_NAMES.get(name, name)


def axis_names(names: Any, default: Sequence[str]) -> tuple[str, ...] | None:
    """Return the names of axes; None if the metadata have none.

    Args:
        names: Texts, or mappings with a `name`. One that is null, or a number, is the default's in
            its place.
    """
    if not isinstance(names, list | tuple):
        return None
    texts = [each.get("name") if isinstance(each, Mapping) else each for each in names]
    known = [
        axis_name(each) if isinstance(each, str) and not _NO_NAME.fullmatch(each) else None
        for each in texts
    ]
    if not any(known):
        return None
    if len(known) != len(default):
        return tuple(each or "?" for each in known)
    return tuple(each or other for each, other in zip(known, default, strict=True))


def cosem_grid(axes: tuple[str, ...], transform: Any) -> Grid:
    """Read a COSEM `transform`, which lists its own axes, mostly z first, also in N5."""

    def read() -> Grid:
        names = [axis_name(name) for name in transform["axes"]]
        order = [names.index(axis) for axis in axes]
        lists = {
            key: [transform[stored][i] for i in order]
            for key, stored in (("scale", "scale"), ("translation", "translate"))
        }
        return Grid.from_lists(axes, **lists, units=[transform["units"][i] for i in order])

    grid = understood(read)
    return Grid.not_understood(axes, grid) if isinstance(grid, NotUnderstood) else grid


def same_size(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    """Return whether two voxel sizes are the same but for rounding."""
    return len(a) == len(b) and all(
        math.isclose(x, y, rel_tol=_SAME_SIZE) for x, y in zip(a, b, strict=True)
    )


def corner_of_level(level: Grid, first: Grid) -> tuple[float, ...] | None:
    """Return where a level of a pyramid begins, if its translation is the center of its voxel.

    Then it is half the difference of the voxel sizes away from that of the first level: both
    begin at the same corner.
    """
    parts = (level.scale, level.translation, first.scale, first.translation)
    lists = [part for part in parts if isinstance(part, tuple)]
    if len(lists) < len(parts):
        return None
    shifts = [
        (shift - zero, (size - first_size) / 2, size)
        for size, shift, first_size, zero in zip(*lists, strict=True)
    ]
    is_center = all(
        math.isclose(found, expected, abs_tol=1e-3 * size) for found, expected, size in shifts
    )
    is_moved = any(expected for _, expected, _ in shifts)
    return lists[-1] if is_center and is_moved else None


def _numbers(values: Any, axes: Sequence[str], other: float) -> tuple[float, ...] | None:
    if values is None:
        return None
    if not isinstance(values, list | tuple):
        raise ValueError(f"found {values!r} for the axes {', '.join(axes)}")
    return _per_axis([float(each) for each in values], axes, other)


def _per_axis(values: Sequence[Any], axes: Sequence[str], other: Any) -> tuple[Any, ...]:
    """Return one value per axis; `other` for axes that are not spatial, if they have none."""
    if len(values) == len(axes):
        return tuple(values)
    spatial = [axis for axis in axes if axis in SPATIAL_AXES]
    if len(values) != len(spatial):
        raise ValueError(f"found {list(values)} for the axes {', '.join(axes)}")
    by_axis = dict(zip(spatial, values, strict=True))
    return tuple(by_axis.get(axis, other) for axis in axes)

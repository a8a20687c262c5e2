"""The metadata of an array, whatever its format, and what the readers of formats share."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from attrs import frozen

from trainers.datasets.remote_path import VolumePath
from trainers.errors import DataError, DataUnavailableError
from trainers.run.failure_class import may_come_back

SPATIAL_AXES = ("z", "y", "x")

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


@frozen(kw_only=True)
class Grid:
    """The positions of the voxels: one entry per dimension, in TensorStore's order."""

    axes: tuple[str, ...]
    scale: tuple[float, ...] | None
    """Size of a voxel; None if the files do not say."""
    translation: tuple[float, ...] | None
    """Lower corner of the first voxel; None if the files do not say."""
    units: tuple[str | None, ...]
    """Units of scale and translation; None where the files do not say."""

    @classmethod
    def from_lists(
        cls,
        axes: tuple[str, ...],
        *,
        scale: Sequence[float] | None,
        translation: Sequence[float] | None,
        units: Sequence[str | None] | str | None,
    ) -> Grid:
        """Make a grid from lists of one value per axis, or of one per spatial axis.

        Args:
            units: One for all axes, or a list.

        Raises:
            ValueError: The number of values fits neither.
        """
        if units is None or isinstance(units, str):
            units = [units] * len(axes)
        return cls(
            axes=axes,
            scale=_numbers(scale, axes, 1.0),
            translation=_numbers(translation, axes, 0.0),
            units=_per_axis([unit and str(unit) for unit in units], axes, None),
        )


@frozen(kw_only=True)
class StoredArray:
    """The metadata of one array."""

    driver: str
    """TensorStore's name of the format."""
    scale_index: int | None = None
    """Index of the scale in a precomputed volume."""
    shape: tuple[int, ...]
    """One entry per dimension, in TensorStore's order."""
    dtype: str
    """Name of the dtype; not always one that NumPy knows."""
    grid: Grid


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
    name = name.lower().removesuffix("^")
    return "c" if name == "channel" else name


def _numbers(
    values: Sequence[float] | None, axes: Sequence[str], other: float
) -> tuple[float, ...] | None:
    return None if values is None else _per_axis([float(each) for each in values], axes, other)


def _per_axis(values: Sequence[Any], axes: Sequence[str], other: Any) -> tuple[Any, ...]:
    """Return one value per axis; `other` for axes that are not spatial, if they have none."""
    if len(values) == len(axes):
        return tuple(values)
    spatial = [axis for axis in axes if axis in SPATIAL_AXES]
    if len(values) != len(spatial):
        raise ValueError(f"found {list(values)} for the axes {', '.join(axes)}")
    by_axis = dict(zip(spatial, values, strict=True))
    return tuple(by_axis.get(axis, other) for axis in axes)

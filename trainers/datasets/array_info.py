"""Read the metadata of an array, in any format, without opening it."""

from __future__ import annotations

import math
import os
from pathlib import Path

from attrs import frozen

from trainers.config_faults import not_one_of
from trainers.datasets.dataset_config import ArrayConfig
from trainers.datasets.formats.n5 import is_n5_array, read_n5_array
from trainers.datasets.formats.precomputed import is_precomputed_volume, read_precomputed_array
from trainers.datasets.formats.stored_array import SPATIAL_AXES, Grid, StoredArray, nm_per
from trainers.datasets.formats.zarr import is_zarr_array, read_zarr_array
from trainers.datasets.remote_path import RemotePath, VolumePath, forget_answers
from trainers.errors import DataError, DataUnavailableError
from trainers.run.failure_class import may_come_back

_MAX_FOLDERS = 1000
_INTEGERS = [f"{kind}{bits}" for kind in ("uint", "int") for bits in (8, 16, 32, 64)]
_DTYPES = ["bool", *_INTEGERS, "float16", "float32", "float64"]

_MALFORMED = (AttributeError, LookupError, OverflowError, TypeError, ValueError)
"""What the readers raise on metadata that are malformed in any way."""


@frozen(kw_only=True)
class ArrayInfo:
    """An array as its files and its config describe it, the config first.

    Spatial values are in z, y, x order (2-D: y, x), whatever the order in the files.
    """

    path: VolumePath
    """Folder of the array itself; for a precomputed volume, of the volume."""
    driver: str
    """TensorStore's name of the format: zarr, zarr3, n5 or neuroglancer_precomputed."""
    scale_index: int | None = None
    """Index of the scale in a precomputed volume."""
    stored_axes: tuple[str, ...]
    """Names in TensorStore's order of dimensions: z, y, x, c, and others of length 1."""
    shape: tuple[int, ...]
    """Voxels along the spatial axes."""
    num_channels: int | None
    """None without a channel axis, and with one of length 1."""
    dtype: str
    """Name of the NumPy dtype."""
    voxel_size_nm: tuple[float, ...]
    offset_nm: tuple[float, ...]
    """Lower corner of the first voxel."""
    value_range: tuple[float, float] | None
    """Raw values that are mapped to 0 and 1; None: values are kept."""
    absent_chunks: str = "error"
    """What a chunk without a file means; see `ArrayConfig`."""

    @property
    def ndim(self) -> int:
        """Number of spatial axes."""
        return len(self.shape)

    @property
    def is_integer(self) -> bool:
        return self.dtype in _INTEGERS


def read_array_info(config: ArrayConfig) -> ArrayInfo:
    """Read the metadata of an array, and none of its voxels.

    Raises:
        DataUnavailableError: There is no volume, or it cannot be read at present.
        DataError: It has no such array, or its metadata are malformed or incomplete.
    """
    try:
        path, stored = _read_stored(config)
    except DataUnavailableError:
        forget_answers()  # or another attempt would get the same ones
        raise
    try:
        return _complete(config, path, stored)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error


def array_names(container: Path) -> list[str]:
    """List the zarr and N5 arrays in a folder, sorted; stop after many folders."""
    names = []
    for count, (folder, subfolders, _) in enumerate(os.walk(container)):
        if is_zarr_array(Path(folder)) or is_n5_array(Path(folder)):
            names.append(Path(folder).relative_to(container).as_posix())
            subfolders.clear()  # they hold chunks
        if count == _MAX_FOLDERS:
            break
    return sorted(names)


def _read_stored(config: ArrayConfig) -> tuple[VolumePath, StoredArray]:
    folder = config.path / config.array
    try:
        if is_precomputed_volume(config.path):
            return config.path, read_precomputed_array(config.path, config.array)
        if is_zarr_array(folder):
            return folder, read_zarr_array(folder)
        if is_n5_array(folder):
            return folder, read_n5_array(folder)
        raise _not_found(config)
    except OSError as error:
        kind = DataUnavailableError if may_come_back(error) else DataError
        raise kind(f"{folder}: its metadata cannot be read: {error}") from error
    except _MALFORMED as error:
        problem = f"{type(error).__name__}: {error}"
        raise DataError(f"{folder}: its metadata are not understood: {problem}") from error


def _not_found(config: ArrayConfig) -> DataError:
    if isinstance(config.path, RemotePath):
        return DataUnavailableError(
            f"{config.path / config.array}: the server has no zarr, N5 or neuroglancer precomputed "
            "array there, or denies access; check the address, `array` and the credentials"
        )
    if not config.path.is_dir():
        return DataUnavailableError(
            f"{config.path}: no such directory; expected a zarr, N5 or precomputed volume"
        )
    names = array_names(config.path)
    if not names:  # as the folder of a file system that is not mounted
        return DataUnavailableError(
            f"{config.path}: holds no zarr, N5 or neuroglancer precomputed array"
        )
    return DataError(
        f"{config.path}: `array` is none of its arrays: {not_one_of(config.array, names)}"
    )


def _complete(config: ArrayConfig, path: VolumePath, stored: StoredArray) -> ArrayInfo:
    spatial = _spatial_axes(stored)
    lengths = dict(zip(stored.grid.axes, stored.shape, strict=True))
    if stored.dtype not in _DTYPES:
        raise DataError(f"holds {stored.dtype}; understood: {', '.join(_DTYPES)}")
    return ArrayInfo(
        path=path,
        driver=stored.driver,
        scale_index=stored.scale_index,
        stored_axes=stored.grid.axes,
        shape=tuple(lengths[axis] for axis in spatial),
        num_channels=lengths["c"] if lengths.get("c", 1) > 1 else None,
        dtype=stored.dtype,
        voxel_size_nm=_voxel_size_nm(config, stored.grid, spatial),
        offset_nm=_offset_nm(config, stored.grid, spatial),
        value_range=config.value_range or _full_range(stored.dtype),
        absent_chunks=config.absent_chunks,
    )


def _spatial_axes(stored: StoredArray) -> tuple[str, ...]:
    axes = stored.grid.axes
    found = f"has the shape {list(stored.shape)} and the axes [{', '.join(axes)}]"
    if len(set(axes)) != len(stored.shape):
        raise DataError(f"{found}; expected one name for each axis")
    if not {"y", "x"} <= set(axes):
        raise DataError(f"{found}; expected z, y, x or y, x among them")
    for axis, length in zip(axes, stored.shape, strict=True):
        if axis not in (*SPATIAL_AXES, "c") and length > 1:
            raise DataError(f"{found}; besides z, y, x, c an axis must have length 1")
    return tuple(axis for axis in SPATIAL_AXES if axis in axes)


def _voxel_size_nm(config: ArrayConfig, grid: Grid, spatial: tuple[str, ...]) -> tuple[float, ...]:
    if config.voxel_size_nm is not None:
        return _for_axes(config.voxel_size_nm, "voxel_size_nm", spatial)
    if grid.scale is None:
        raise DataError("its files do not give the voxel size; set `voxel_size_nm`")
    voxel_size = _in_nm(grid.scale, "voxel_size_nm", grid, spatial)
    if min(voxel_size) <= 0:
        raise DataError(
            f"its files give a voxel size of {list(voxel_size)} nm; it must be more than 0; "
            "set `voxel_size_nm`"
        )
    return voxel_size


def _offset_nm(config: ArrayConfig, grid: Grid, spatial: tuple[str, ...]) -> tuple[float, ...]:
    if config.offset_nm is not None:
        return _for_axes(config.offset_nm, "offset_nm", spatial)
    if grid.translation is None or not any(grid.translation):
        return (0.0,) * len(spatial)
    return _in_nm(grid.translation, "offset_nm", grid, spatial)


def _for_axes(values: tuple[float, ...], key: str, spatial: tuple[str, ...]) -> tuple[float, ...]:
    if len(values) != len(spatial):
        raise DataError(
            f"`{key}` is {list(values)}; expected {len(spatial)} values: {', '.join(spatial)}"
        )
    return values


def _in_nm(
    values: tuple[float, ...], key: str, grid: Grid, spatial: tuple[str, ...]
) -> tuple[float, ...]:
    """Convert to nm; rounded to 1e-6 nm, since conversion leaves 5.239999999999999 for 5.24."""
    by_axis = dict(zip(grid.axes, zip(values, grid.units, strict=True), strict=True))
    converted = []
    for value, unit in (by_axis[axis] for axis in spatial):
        factor = nm_per(unit or "")
        if factor is None or not math.isfinite(value):
            raise DataError(
                f"its files give {list(values)} in the units {list(grid.units)}; expected finite "
                f"numbers in a unit of length; set `{key}`"
            )
        converted.append(round(value * factor, 6))
    return tuple(converted)


def _full_range(dtype: str) -> tuple[float, float] | None:
    """Return lowest and highest value of an integer dtype; None for floats."""
    if dtype == "bool":
        return (0.0, 1.0)
    if dtype not in _INTEGERS:
        return None
    bits = int(dtype.removeprefix("u").removeprefix("int"))
    if dtype.startswith("u"):
        return (0.0, 2.0**bits - 1)
    return (-(2.0 ** (bits - 1)), 2.0 ** (bits - 1) - 1)

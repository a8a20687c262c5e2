"""Read the metadata of an array, in any format, without opening it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

import attrs
from attrs import frozen

from trainers.datasets.dataset_config import ArrayConfig
from trainers.datasets.find_array import FoundArray, find_array
from trainers.datasets.formats.n5 import read_n5_array
from trainers.datasets.formats.precomputed import read_precomputed_array
from trainers.datasets.formats.stored_array import (
    MALFORMED,
    SPATIAL_AXES,
    Grid,
    StoredArray,
    axis_name,
    problem_of,
)
from trainers.datasets.formats.zarr import read_zarr_array
from trainers.datasets.placement import read_offset_nm, read_voxel_size_nm, refuse_malformed
from trainers.datasets.remote_path import VolumePath, forget_answers
from trainers.errors import DataError, DataUnavailableError
from trainers.run.failure_class import may_come_back

_INTEGERS = [f"{kind}{bits}" for kind in ("uint", "int") for bits in (8, 16, 32, 64)]
_DTYPES = ["bool", *_INTEGERS, "float16", "float32", "float64"]


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
    metadata: str | None = None
    """JSON that TensorStore is to take for the stored metadata; None: it understands them."""
    stored_axes: tuple[str, ...]
    """Names in TensorStore's order of dimensions: z, y, x, c, and others."""
    selected: tuple[tuple[str, int], ...] = ()
    """Indices other than 0 along axes that are not read."""
    shape: tuple[int, ...]
    """Voxels along the spatial axes."""
    num_channels: int | None
    """None without a channel axis, with one of length 1, and if one channel is selected."""
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
    def end_nm(self) -> tuple[float, ...]:
        """Upper corner of the last voxel."""
        return tuple(
            round(begin + length * size, 6)
            for begin, length, size in zip(
                self.offset_nm, self.shape, self.voxel_size_nm, strict=True
            )
        )

    @property
    def axes(self) -> tuple[str, ...]:
        """Axes of what is read: z, y, x or y, x, preceded by c with more than one channel."""
        spatial = SPATIAL_AXES[-self.ndim :]
        return spatial if self.num_channels is None else ("c", *spatial)

    @property
    def holds_labels(self) -> bool:
        """Whether voxels can be ids: integers, or bool for 0 and 1."""
        return self.dtype in (*_INTEGERS, "bool")

    def with_axes(self, num_axes: int) -> ArrayInfo:
        """Return the same array for a network of so many axes: a single plane is an image to 2."""
        if num_axes != 2 or self.ndim != 3 or self.shape[0] != 1:
            return self
        per_axis = {
            name: getattr(self, name)[1:] for name in ("shape", "voxel_size_nm", "offset_nm")
        }
        return attrs.evolve(self, **per_axis)


def read_array_info(config: ArrayConfig, *, as_earlier: bool = False) -> ArrayInfo:
    """Read the metadata of an array, and none of its voxels.

    Args:
        as_earlier: Understand them as the first versions did: without `_ARRAY_DIMENSIONS`, without
            `transform` of a zarr array, each offset a corner, no scale chosen by its voxel size.

    Raises:
        DataUnavailableError: There is no volume, or it cannot be read at present.
        DataError: It has no such array, or its metadata are malformed or incomplete.
    """
    folder = config.path / config.array
    try:
        wanted = attrs.evolve(config, voxel_size_nm=None) if as_earlier else config
        found = find_array(wanted, _stored_voxel_size)
        folder = found.folder
        return _complete(config, folder, _read_stored(found, as_earlier=as_earlier))
    except DataUnavailableError:
        forget_answers()  # or another attempt would get the same ones
        raise
    except OSError as error:
        kind = DataUnavailableError if may_come_back(error) else DataError
        raise kind(f"{folder}: its metadata cannot be read: {error}") from error
    except MALFORMED as error:
        problem = f"its metadata are not understood: {problem_of(error)}"
        raise DataError(f"{folder}: {problem}") from error


def _read_stored(found: FoundArray, *, as_earlier: bool) -> StoredArray:
    stored = _read_format(found, as_earlier=as_earlier)
    if not as_earlier:
        return stored
    return attrs.evolve(stored, read_grid=lambda: attrs.evolve(stored.read_grid(), corner=None))


def _read_format(found: FoundArray, *, as_earlier: bool) -> StoredArray:
    match found.format:
        case "zarr":
            return read_zarr_array(found.folder, as_earlier=as_earlier)
        case "n5":
            return read_n5_array(found.folder)
        case "precomputed":
            return read_precomputed_array(found.folder, found.name)


def _stored_voxel_size(config: ArrayConfig) -> tuple[float, ...] | None:
    try:
        return read_array_info(config).voxel_size_nm
    except DataUnavailableError:
        raise
    except DataError:
        return None


def _complete(config: ArrayConfig, path: VolumePath, stored: StoredArray) -> ArrayInfo:
    try:
        grid = _grid(config, stored)
        spatial = _spatial_axes(grid.axes, stored.shape)
        if stored.dtype not in _DTYPES:
            raise DataError(f"holds {stored.dtype}; understood: {', '.join(_DTYPES)}")
        refuse_malformed(config, grid)
        lengths = dict(zip(grid.axes, stored.shape, strict=True))
        selected = dict(_selected(config, lengths))
        num_channels = 1 if config.channel is not None else lengths.get("c", 1)
        voxel_size_nm = read_voxel_size_nm(config, grid, spatial)
        return ArrayInfo(
            path=path,
            driver=stored.driver,
            scale_index=stored.scale_index,
            metadata=None if stored.metadata is None else json.dumps(stored.metadata),
            stored_axes=grid.axes,
            selected=tuple(selected.items()),
            shape=tuple(lengths[axis] for axis in spatial),
            num_channels=num_channels if num_channels > 1 else None,
            dtype=stored.dtype,
            voxel_size_nm=voxel_size_nm,
            offset_nm=read_offset_nm(config, grid, spatial, voxel_size_nm),
            value_range=config.value_range or _full_range(stored.dtype),
            absent_chunks=config.absent_chunks,
        )
    except DataUnavailableError:
        raise
    except DataError as error:
        raise DataError(f"{path}: {error}") from error


def _grid(config: ArrayConfig, stored: StoredArray) -> Grid:
    """Return where the voxels are; read no files about what the config gives."""
    if config.axes is None:
        return stored.read_grid()
    if len(config.axes) != len(stored.shape):
        raise DataError(
            f"has the shape {list(stored.shape)}, and `axes` is [{', '.join(config.axes)}]; "
            "expected one name for each axis"
        )
    axes = tuple(map(axis_name, config.axes))
    if config.voxel_size_nm is not None and config.offset_nm is not None:
        return Grid.from_lists(axes)
    return attrs.evolve(stored.read_grid(), axes=axes)


def _spatial_axes(axes: tuple[str, ...], shape: tuple[int, ...]) -> tuple[str, ...]:
    found = f"has the shape {list(shape)} and the axes [{', '.join(axes)}]"
    if len(set(axes)) != len(shape) or len(axes) != len(shape):
        raise DataError(f"{found}; expected one name for each axis; set `axes`")
    if not {"y", "x"} <= set(axes):
        raise DataError(f"{found}; expected z, y, x or y, x among them; set `axes`")
    return tuple(axis for axis in SPATIAL_AXES if axis in axes)


def _selected(config: ArrayConfig, lengths: Mapping[str, int]) -> Iterator[tuple[str, int]]:
    """Yield the axes that are not read, and the index along them."""
    for axis, key, index in (("t", "time", config.time), ("c", "channel", config.channel)):
        if index is not None and index >= lengths.get(axis, 1):
            raise DataError(
                f"`{key}` is {index}; the array has {lengths.get(axis, 1)}, counted from 0"
            )
        if index:
            yield axis, index
    for axis, length in lengths.items():
        if axis in (*SPATIAL_AXES, "c") or length == 1 or (axis == "t" and config.time is not None):
            continue
        found = f"has the shape {list(lengths.values())} and the axes [{', '.join(lengths)}]"
        advice = "; set `time`" if axis == "t" else "; set `axes`"
        raise DataError(f"{found}; besides z, y, x, c an axis must have length 1{advice}")


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

"""Arrays in world coordinates, read with TensorStore."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache, cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorstore as ts
from funlib.geometry import Coordinate, Roi

from trainers.datasets.array_info import ArrayInfo
from trainers.datasets.stored_array import SPATIAL_AXES
from trainers.errors import DataError


class Array:
    """A stored array with a place in the world of a dataset.

    It is opened at the first read. A pickled copy opens it anew.
    """

    def __init__(self, info: ArrayInfo, *, voxel_size: Coordinate, offset: Coordinate) -> None:
        self.info = info
        self.voxel_size = voxel_size
        self.roi = Roi(offset, voxel_size * Coordinate(info.shape))

    @property
    def axes(self) -> tuple[str, ...]:
        """z, y, x or y, x, with c before them if there is more than one channel."""
        spatial = SPATIAL_AXES[-self.info.ndim :]
        return spatial if self.num_channels is None else ("c", *spatial)

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(self.info.dtype)

    @property
    def num_channels(self) -> int | None:
        return self.info.num_channels

    def __getitem__(self, roi: Roi) -> npt.NDArray[Any]:
        """The voxels of a region, as `begin_read` describes them."""
        return self.begin_read(roi)()

    def begin_read(self, roi: Roi) -> Callable[[], npt.NDArray[Any]]:
        """Start to read a region of the array; the function that comes back waits for the voxels.

        They have the axes of `axes` and the stored type. A chunk that was never written holds the
        array's fill value.

        Raises:
            ValueError: The region is not inside of the array, or ends between voxels.
            DataError: The array cannot be opened, or (while waiting) a chunk cannot be read.
        """
        if not self.roi.contains(roi):
            raise ValueError(f"{self.info.path}: {roi} is not inside of {self.roi}")
        begin, shape = self._in_voxels(roi.begin - self.roi.begin), self._in_voxels(roi.shape)
        reading = self._store[(..., *Roi(begin, shape).to_slices())].read()
        return lambda: self._result(reading, f"voxels {begin} to {begin + shape}")

    def _in_voxels(self, world: Coordinate) -> Coordinate:
        if any(world % self.voxel_size):
            raise ValueError(
                f"{self.info.path}: {world} is not a whole number of voxels of {self.voxel_size}"
            )
        return world // self.voxel_size

    @cached_property
    def _store(self) -> ts.TensorStore:
        """The open array, with the axes of `axes`, beginning at 0."""
        spec: dict[str, Any] = {
            "driver": self.info.driver,
            "kvstore": {"driver": "file", "path": f"{self.info.path.absolute()}/"},
        }
        if self.info.scale_index is not None:
            spec["scale_index"] = self.info.scale_index
        opening = ts.open(spec, open=True, read=True, context=_context())
        kept = [axis for axis in self.info.stored_axes if axis in self.axes]
        index = tuple(slice(None) if axis in kept else 0 for axis in self.info.stored_axes)
        store: ts.TensorStore = self._result(opening, "its metadata")
        return store[ts.d[:].translate_to[0]][index].transpose(
            [kept.index(axis) for axis in self.axes]
        )

    def _result(self, future: ts.Future[Any], part: str) -> Any:
        try:
            return future.result()
        except (ValueError, IndexError, NotImplementedError) as error:
            raise DataError(f"{self.info.path}: cannot read {part}: {error}") from error

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_store"}


@cache
def _context() -> ts.Context:
    """One for the process, with as many decoding threads as it has cores."""
    return ts.Context({"data_copy_concurrency": {"limit": len(os.sched_getaffinity(0))}})

"""Arrays in world coordinates."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from funlib.geometry import Coordinate, Roi

from trainers.datasets.array_info import ArrayInfo
from trainers.datasets.reading import Reading
from trainers.datasets.stored_array import SPATIAL_AXES
from trainers.datasets.stored_voxels import StoredVoxels


class Array:
    """A stored array with a place in the world of a dataset.

    It is opened at the first read. A pickled copy opens it anew.
    """

    reading = Reading()
    """To be set before the first read."""

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

        They have the axes of `axes` and the stored type.

        Raises:
            ValueError: The region is not inside of the array, or ends between voxels.
            DataError: The array cannot be opened, or (while waiting) a chunk cannot be read.
        """
        if not self.roi.contains(roi):
            raise ValueError(f"{self.info.path}: {roi} is not inside of {self.roi}")
        begin, shape = self._in_voxels(roi.begin - self.roi.begin), self._in_voxels(roi.shape)
        return self._voxels.begin_read(Roi(begin, shape).to_slices())

    def _in_voxels(self, world: Coordinate) -> Coordinate:
        if any(world % self.voxel_size):
            raise ValueError(
                f"{self.info.path}: {world} is not a whole number of voxels of {self.voxel_size}"
            )
        return world // self.voxel_size

    @cached_property
    def _voxels(self) -> StoredVoxels:
        return StoredVoxels(self.info, self.axes, self.reading)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_voxels"}

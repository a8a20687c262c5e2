"""Arrays in world coordinates, as gunpowder and funlib use them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt
from funlib.geometry import Coordinate, Roi

from trainers.datasets.array_info import ArrayInfo
from trainers.datasets.read_options import Reading
from trainers.datasets.stored_voxels import StoredVoxels
from trainers.run.backoff import never

_NOT_PICKLED = ("_opening", "_voxels")


class Array:
    """A stored array with a position in the world of a dataset.

    Regions (`Roi`) are in world units, axes in z, y, x order. The array is opened at the first
    read; threads may share it. A pickled copy opens it again: TensorStore's handles belong to one
    process, and do not survive a fork. It heeds no stops: worker processes are killed then.
    """

    reading = Reading()
    """Set it before the first read."""

    def __init__(self, info: ArrayInfo, *, voxel_size: Coordinate, offset: Coordinate) -> None:
        self.info = info
        self.voxel_size = voxel_size
        self.roi = Roi(offset, voxel_size * Coordinate(info.shape))
        self._opening = threading.Lock()
        self._voxels: StoredVoxels | None = None

    @property
    def axes(self) -> tuple[str, ...]:
        """Axes of what is read, in this order."""
        return self.info.axes

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(self.info.dtype)

    @property
    def num_channels(self) -> int | None:
        return self.info.num_channels

    def __getitem__(self, roi: Roi) -> npt.NDArray[Any]:
        """Read the voxels of a region; see `begin_read`."""
        return self.begin_read(roi)()

    def begin_read(self, roi: Roi) -> Callable[[], npt.NDArray[Any]]:
        """Start to read a region; return a function that waits for the voxels.

        They have the axes of `axes` and the stored dtype.

        Raises:
            ValueError: The region is not inside the array, or not on its voxel grid.
            DataError: The array cannot be opened, or (while waiting) a chunk cannot be read.
            StopRequestedError: `reading.should_stop` said so meanwhile.
        """
        if not self.roi.contains(roi):
            raise ValueError(f"{self.info.path}: {roi} is not inside {self.roi}")
        begin, shape = self._in_voxels(roi.begin - self.roi.begin), self._in_voxels(roi.shape)
        return self._open().begin_read(Roi(begin, shape).to_slices())

    def _in_voxels(self, world: Coordinate) -> Coordinate:
        if any(world % self.voxel_size):
            raise ValueError(
                f"{self.info.path}: {world} is not a whole number of voxels of {self.voxel_size}"
            )
        return world // self.voxel_size

    def _open(self) -> StoredVoxels:
        with self._opening:
            if self._voxels is None:
                self._voxels = StoredVoxels(self.info, self.axes, self.reading)
            return self._voxels

    def __getstate__(self) -> dict[str, Any]:
        state = {key: self.__dict__[key] for key in self.__dict__ if key not in _NOT_PICKLED}
        return state | {"reading": attrs.evolve(self.reading, should_stop=never)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._opening, self._voxels = threading.Lock(), None

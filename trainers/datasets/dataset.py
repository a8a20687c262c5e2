"""A dataset whose metadata have been read and checked."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from funlib.geometry import Coordinate

from trainers.datasets.array import Array
from trainers.datasets.array_info import ArrayInfo, read_array_info
from trainers.datasets.compatibility import array_faults
from trainers.datasets.dataset_config import DatasetConfig
from trainers.datasets.read_options import Reading
from trainers.datasets.sample_points import read_sample_points
from trainers.datasets.world_units import offset_voxels, units_per_nm, world_voxel_size
from trainers.errors import DataError


class Dataset:
    """Arrays in one world of integer coordinates, as gunpowder needs them. Picklable.

    A world unit is 1 / `units_per_nm` nm; the first voxel of raw begins at 0.

    Args:
        num_axes: Of the network; to one of two axes, an array of a single plane is an image.

    Raises:
        DataError: An array or the file of points cannot be used, or they do not fit each other.
    """

    def __init__(self, config: DatasetConfig, num_axes: int = 3) -> None:
        infos = {
            key: read_array_info(array).with_axes(num_axes) for key, array in config.arrays.items()
        }
        if faults := array_faults(config, infos):
            listed = "; ".join(f"{key}: {message}" for key, message in faults)
            raise DataError(f"dataset {config.name!r} does not fit together: {listed}")
        self.name = config.name
        self.weight = config.weight
        self.units_per_nm = units_per_nm(infos.values())
        arrays = {key: self._place(info, origin=infos["raw"]) for key, info in infos.items()}
        self.raw: Array = arrays["raw"]
        self.gt: Array | None = arrays.get("gt")
        self.mask: Array | None = arrays.get("mask")
        self.sample_points = self._read_points(config, origin_nm=infos["raw"].offset_nm)
        """Positions in world units, [N, ndim], or None; inside the ground truth, if any."""

    def read_with(self, reading: Reading) -> None:
        """Set how the arrays are read; call it before the first read."""
        for array in (self.raw, self.gt, self.mask):
            if array is not None:
                array.reading = reading

    @property
    def ground_truth(self) -> Array:
        """The array `gt`, for training, which cannot do without.

        Raises:
            DataError: There is none.
        """
        if self.gt is None:
            raise DataError(
                f"dataset {self.name!r} has no ground truth, which training needs; set its `gt`, "
                "or leave the dataset out"
            )
        return self.gt

    def _place(self, info: ArrayInfo, *, origin: ArrayInfo) -> Array:
        voxel_size = Coordinate(world_voxel_size(info, raw=origin, units_per_nm=self.units_per_nm))
        offset = voxel_size * Coordinate(offset_voxels(info, origin=origin))
        return Array(info, voxel_size=voxel_size, offset=offset)

    def _read_points(
        self, config: DatasetConfig, *, origin_nm: tuple[float, ...]
    ) -> npt.NDArray[np.float64] | None:
        if config.sample_points is None:
            return None
        points_nm = np.array(read_sample_points(config.sample_points, len(origin_nm)))
        points: npt.NDArray[np.float64] = (points_nm - origin_nm) * self.units_per_nm
        if self.gt is None:
            return points
        points = points[((points >= self.gt.roi.begin) & (points < self.gt.roi.end)).all(axis=1)]
        if not len(points):
            raise DataError(
                f"dataset {self.name!r}: none of the {len(points_nm)} points in "
                f"{config.sample_points} lies in the ground truth; they must be in nm, in the "
                "frame of the arrays"
            )
        return points

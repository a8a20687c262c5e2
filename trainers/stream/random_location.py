"""Where samples are taken."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from gunpowder import Coordinate, Roi

from trainers.errors import DataError
from trainers.stream.volume_reader import VolumeReader

Voxel = npt.NDArray[np.int64]

MAX_ATTEMPTS = 2000


class RandomLocation:
    """Picks output blocks in the ground truth's extent, of which the mask covers enough.

    Around the sample points if the dataset has any: each point as often, and the block in any
    place that contains it. A block larger than the ground truth contains all of it.

    Args:
        block_shape: In voxels.
        min_masked: Fraction of the block that the mask must cover; None takes any block.
    """

    def __init__(
        self, reader: VolumeReader, *, block_shape: Sequence[int], min_masked: float | None
    ) -> None:
        self._reader = reader
        self._voxel_size = reader.gt.voxel_size
        self._shape = np.array(block_shape)
        self._min_masked = min_masked
        extent = reader.gt.roi / self._voxel_size
        ends = np.array([extent.begin, extent.end - Coordinate(block_shape)])
        self._lowest, self._highest = ends.min(0), ends.max(0)

    def pick(self, rng: np.random.Generator) -> Roi:
        """A block on the voxel grid, in world units.

        Raises:
            DataError: The mask covers too little of every block that was tried.
        """
        most = 0.0
        for _ in range(MAX_ATTEMPTS):
            begin = Coordinate(self._first_voxel(rng))
            block = Roi(begin, Coordinate(self._shape)) * self._voxel_size
            if not self._min_masked:
                return block
            covered = float(self._reader.begin_mask(block)().mean())
            if covered >= self._min_masked:
                return block
            most = max(most, covered)
        raise DataError(
            f"dataset {self._reader.dataset.name!r}: the mask covers at most {most:.3g} of an "
            f"output block of {'x'.join(map(str, self._shape))} voxels, in {MAX_ATTEMPTS} random "
            f"ones, and min_masked asks for {self._min_masked:g}; lower min_masked, check the "
            "mask, or give sample_points where it is set"
        )

    def _first_voxel(self, rng: np.random.Generator) -> Voxel:
        lowest, highest = self._lowest, self._highest
        points = self._reader.dataset.sample_points
        if points is not None:
            point = np.floor(points[rng.integers(len(points))] / self._voxel_size).astype(int)
            lowest, highest = self._around(point)
        voxel: Voxel = rng.integers(lowest, highest, endpoint=True)
        return voxel

    def _around(self, voxel: Voxel) -> tuple[Voxel, Voxel]:
        """First voxels of the blocks that contain a voxel, kept to the ground truth if possible."""
        lowest, highest = voxel - self._shape + 1, voxel
        lowest_inside = np.maximum(lowest, self._lowest)
        highest_inside = np.minimum(highest, self._highest)
        if (lowest_inside <= highest_inside).all():
            return lowest_inside, highest_inside
        return lowest, highest

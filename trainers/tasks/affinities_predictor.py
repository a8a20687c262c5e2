"""Targets for affinities: which pairs of voxels belong to the same object."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from trainers.tasks.predictor import Context, Predictor


class AffinitiesPredictor(Predictor):
    """One channel per offset: 1 where a voxel and the one at the offset have the same nonzero id.

    Affinities after Turaga et al. (2010). Ids are compared in their stored dtype: gunpowder's
    AddAffinities casts them to int32, where ids 5 and 5 + 2**32 become one object.
    """

    def __init__(self, neighborhood: tuple[tuple[int, ...], ...]) -> None:
        self._neighborhood = neighborhood
        reaches = [(0, *steps) for steps in zip(*neighborhood, strict=True)]
        self._before = tuple(-min(steps) for steps in reaches)
        self._after = tuple(max(steps) for steps in reaches)

    @property
    def num_channels(self) -> int:
        return len(self._neighborhood)

    def context(self, voxel_size_nm: tuple[float, ...]) -> Context:
        return self._before, self._after

    def create_target(
        self, gt: npt.NDArray[Any], voxel_size_nm: tuple[float, ...]
    ) -> npt.NDArray[np.float32]:
        return self._of_pairs(gt, np.dtype(np.float32), must_be_equal=True)

    def create_mask(
        self, mask: npt.NDArray[Any], gt: npt.NDArray[Any], voxel_size_nm: tuple[float, ...]
    ) -> npt.NDArray[np.uint8]:
        return self._of_pairs(mask, np.dtype(np.uint8), must_be_equal=False)

    def _of_pairs(
        self, grown: npt.NDArray[Any], dtype: np.dtype[Any], *, must_be_equal: bool
    ) -> npt.NDArray[Any]:
        """Mark where a voxel and the one at the offset are nonzero, and equal if required."""
        from trainers.tasks.voxel_pairs import mark_pairs  # importing numba takes half a second

        flat = (0,) * (3 - grown.ndim)
        block = [
            size - before - after
            for size, before, after in zip(grown.shape, self._before, self._after, strict=True)
        ]
        marks = np.empty((self.num_channels, *block), dtype)
        mark_pairs(
            np.ascontiguousarray(grown.reshape((1,) * len(flat) + grown.shape)),
            np.array([flat + offset for offset in self._neighborhood]),
            np.array(flat + self._before),
            must_be_equal,
            marks.reshape(self.num_channels, *(1,) * len(flat), *block),
        )
        return marks

"""Targets that tell which neighbors belong together."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from trainers.tasks.predictor import Context, Predictor


class AffinitiesPredictor(Predictor):
    """One channel per offset: 1 where the voxel and the one at the offset have the same id, not 0.

    Ids are compared as they are stored, so that none is too large.
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
        here = self._block(gt, (0,) * gt.ndim)
        inside = here != 0
        neighbors = (self._block(gt, offset) for offset in self._neighborhood)
        return np.stack([inside & (here == there) for there in neighbors]).astype(np.float32)

    def create_mask(
        self, mask: npt.NDArray[Any], gt: npt.NDArray[Any], voxel_size_nm: tuple[float, ...]
    ) -> npt.NDArray[np.uint8]:
        known = mask != 0
        here = self._block(known, (0,) * mask.ndim)
        neighbors = (self._block(known, offset) for offset in self._neighborhood)
        return np.stack([here & there for there in neighbors]).astype(np.uint8)

    def _block(self, grown: npt.NDArray[Any], offset: tuple[int, ...]) -> npt.NDArray[Any]:
        """The output block, moved by an offset, as a view."""
        return grown[
            tuple(
                slice(before + step, size - after + step)
                for size, before, after, step in zip(
                    grown.shape, self._before, self._after, offset, strict=True
                )
            )
        ]

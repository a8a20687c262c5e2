"""Targets for semantic segmentation: the class of each voxel, one-hot."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from trainers.errors import DataError
from trainers.tasks.predictor import Context, Predictor, Total, whole_batch


class OneHotPredictor(Predictor):
    """One channel per class: 1 where a voxel's id is the index of the class."""

    def __init__(self, classes: tuple[str, ...]) -> None:
        self._classes = classes

    @property
    def num_channels(self) -> int:
        return len(self._classes)

    def context(self, voxel_size_nm: tuple[float, ...]) -> Context:
        nothing = (0,) * len(voxel_size_nm)
        return nothing, nothing

    def create_target(
        self, gt: npt.NDArray[Any], voxel_size_nm: tuple[float, ...]
    ) -> npt.NDArray[np.float32]:
        unknown = (gt < 0) | (gt >= self.num_channels)
        if unknown.any():
            ids = np.unique(gt[unknown])
            listed = ", ".join(map(str, ids[:8])) + (", …" if len(ids) > 8 else "")
            names = ", ".join(f"{index} {name}" for index, name in enumerate(self._classes))
            raise DataError(
                f"the ground truth holds ids that are no class: {listed}; allowed: {names}. "
                "List every class under `task.classes`, or change the ids in the volume."
            )
        return np.stack([gt == index for index in range(self.num_channels)]).astype(np.float32)

    def create_mask(
        self, mask: npt.NDArray[Any], gt: npt.NDArray[Any], voxel_size_nm: tuple[float, ...]
    ) -> npt.NDArray[np.uint8]:
        return np.stack([mask != 0] * self.num_channels).astype(np.uint8)

    def create_weight(
        self,
        gt: npt.NDArray[Any],
        target: npt.NDArray[np.float32],
        mask: npt.NDArray[np.uint8],
        total: Total = whole_batch,
    ) -> npt.NDArray[np.float32]:
        """Weight voxels by inverse class frequency, so that all classes have the same total weight.

        The rule is that of `balanced_weight`; a voxel's weight is the same in all channels.
        """
        members = (target != 0) & (mask != 0)
        other_axes = (0, *range(2, target.ndim))
        sizes = total(members.sum(axis=other_axes, keepdims=True))
        weight_of_class = sizes.sum() / (self.num_channels * np.maximum(sizes, 1))
        weight = (members * weight_of_class).sum(axis=1, keepdims=True)
        return np.repeat(weight, self.num_channels, axis=1).astype(np.float32)

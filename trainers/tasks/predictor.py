"""From ground truth to what a network is trained on. NumPy only: it runs in the data workers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import gunpowder


Total = Callable[[npt.NDArray[np.int64]], npt.NDArray[np.int64]]
"""From counts over some samples of a batch to those over all of its samples."""


def these_are_all(counts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The Total of samples that are the whole batch."""
    return counts


def balanced_weight(
    positive: npt.NDArray[np.bool_], known: npt.NDArray[np.bool_], total: Total = these_are_all
) -> npt.NDArray[np.float32]:
    """Let all positives together weigh as much as all negatives: half of the known voxels each.

    Everything is `[B, K, *block]`. Each channel is balanced by itself, over the whole batch;
    unknown voxels weigh 0. If one kind is absent, the other still weighs half.
    """
    num_known, num_positive = total(np.stack([_count(known), _count(known & positive)]))
    half = num_known / 2
    positive_weight = (half / np.maximum(num_positive, 1)).astype(np.float32)
    negative_weight = (half / np.maximum(num_known - num_positive, 1)).astype(np.float32)
    weight: npt.NDArray[np.float32] = np.where(positive, positive_weight, negative_weight)
    weight *= known
    return weight


def _count(voxels: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """How many are true in each channel, `[1, K, 1, …]`."""
    counts = [np.count_nonzero(voxels[:, channel]) for channel in range(voxels.shape[1])]
    return np.reshape(counts, (1, -1, *(1,) * (voxels.ndim - 2)))


Context = tuple[tuple[int, ...], tuple[int, ...]]


class Predictor(ABC):
    """Makes target, mask and weight; holds no tensor and no history, so it can be pickled.

    `gt` and `mask` of one sample are `[*grown]`: larger than the output block by `context`.
    """

    @property
    @abstractmethod
    def num_channels(self) -> int:
        """Channels K of the target, and so of the prediction."""

    @abstractmethod
    def context(self, voxel_size_nm: tuple[float, ...]) -> Context:
        """Voxels of ground truth needed (before, after) the output block along each axis."""

    @abstractmethod
    def create_target(
        self, gt: npt.NDArray[Any], voxel_size_nm: tuple[float, ...]
    ) -> npt.NDArray[np.float32]:
        """The target `[K, *out]` of ground truth `[*grown]`.

        Raises:
            DataError: The ground truth holds ids that the task does not know.
        """

    @abstractmethod
    def create_mask(
        self, mask: npt.NDArray[Any], gt: npt.NDArray[Any], voxel_size_nm: tuple[float, ...]
    ) -> npt.NDArray[np.uint8]:
        """1 where the target is known, `[K, *out]`; `mask` is nonzero where `gt` is known."""

    def create_weight(
        self,
        gt: npt.NDArray[Any],
        target: npt.NDArray[np.float32],
        mask: npt.NDArray[np.uint8],
        total: Total = these_are_all,
    ) -> npt.NDArray[np.float32]:
        """Weights of the loss for one batch: positive targets balance the others in each channel.

        `gt` is `[B, *out]`, everything else `[B, K, *out]`; the weight is 0 where `mask` is 0.

        Args:
            total: For samples that are a part of the batch: adds up what is counted in each part.
        """
        return balanced_weight(target > 0, mask != 0, total)

    def gt_region_for_roi(
        self, roi: gunpowder.Roi, voxel_size: gunpowder.Coordinate, units_per_nm: int = 1
    ) -> gunpowder.Roi:
        """The region of ground truth needed for a target in `roi`, on the same voxel grid.

        Args:
            voxel_size: In world units, of which `units_per_nm` make a nanometre.
        """
        from gunpowder import Coordinate

        before, after = self.context(tuple(size / units_per_nm for size in voxel_size))
        return roi.grow(voxel_size * Coordinate(before), voxel_size * Coordinate(after))

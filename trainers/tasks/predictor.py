"""Make targets, masks and loss weights from ground truth. NumPy only: it runs in the workers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import gunpowder

Total = Callable[[npt.NDArray[np.int64]], npt.NDArray[np.int64]]
"""Maps counts over part of a batch to counts over all of it: an all-reduce over ranks."""

Context = tuple[tuple[int, ...], tuple[int, ...]]
"""Voxels (before, after) a block along each axis."""


def whole_batch(counts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return the counts unchanged: the `Total` of samples that are the whole batch."""
    return counts


class Predictor(ABC):
    """The maker of target, mask and weight. Picklable: it holds no tensor and no state.

    `gt` and `mask` of a sample are `[*grown]`: the output block `*out`, in voxels z, y, x, grown by
    `context`.
    """

    @property
    @abstractmethod
    def num_channels(self) -> int:
        """Number of channels K of target and prediction."""

    @abstractmethod
    def context(self, voxel_size_nm: tuple[float, ...]) -> Context:
        """Return the voxels of ground truth needed (before, after) the block along each axis."""

    @abstractmethod
    def create_target(
        self, gt: npt.NDArray[Any], voxel_size_nm: tuple[float, ...]
    ) -> npt.NDArray[np.float32]:
        """Return the target `[K, *out]` of ground truth `[*grown]`.

        Raises:
            DataError: The ground truth holds ids that the task does not know.
        """

    @abstractmethod
    def create_mask(
        self, mask: npt.NDArray[Any], gt: npt.NDArray[Any], voxel_size_nm: tuple[float, ...]
    ) -> npt.NDArray[np.uint8]:
        """Return 1 where the target is known, `[K, *out]`; `mask` is nonzero where `gt` is."""

    def create_weight(
        self,
        gt: npt.NDArray[Any],
        target: npt.NDArray[np.float32],
        mask: npt.NDArray[np.uint8],
        total: Total = whole_batch,
    ) -> npt.NDArray[np.float32]:
        """Return the loss weights of a batch; see `balanced_weight`.

        `gt` is `[B, *out]`, everything else `[B, K, *out]`; the weight is 0 where `mask` is 0.

        Args:
            total: Sums counts over the parts of the batch, if these samples are one of them.
        """
        return balanced_weight(target > 0, mask != 0, total)

    def gt_region_for_roi(
        self, roi: gunpowder.Roi, voxel_size: gunpowder.Coordinate, units_per_nm: int = 1
    ) -> gunpowder.Roi:
        """Return the region of ground truth needed for a target in `roi`, on the same voxel grid.

        Args:
            roi: In world units.
            voxel_size: In world units, of which `units_per_nm` make a nanometer.
        """
        from gunpowder import Coordinate

        before, after = self.context(tuple(size / units_per_nm for size in voxel_size))
        return roi.grow(voxel_size * Coordinate(before), voxel_size * Coordinate(after))


def balanced_weight(
    positive: npt.NDArray[np.bool_], known: npt.NDArray[np.bool_], total: Total = whole_batch
) -> npt.NDArray[np.float32]:
    """Return weights with which all positives weigh as much as all negatives.

    Inverse class frequency, n / (number of classes * n of the class): the rule of scikit-learn's
    `class_weight="balanced"` (King and Zeng, 2001), and of gunpowder's BalanceLabels without its
    clipping. Each channel is balanced on its own, over the whole batch, never by a running average,
    so that a resumed run has the same weights.

    Arrays are `[B, K, *block]`. Unknown voxels weigh 0; if one kind is absent, the other still has
    half of the weight.
    """
    num_known, num_positive = total(np.stack([_count(known), _count(known & positive)]))
    half = num_known / 2
    positive_weight = (half / np.maximum(num_positive, 1)).astype(np.float32)
    negative_weight = (half / np.maximum(num_known - num_positive, 1)).astype(np.float32)
    weight: npt.NDArray[np.float32] = np.where(positive, positive_weight, negative_weight)
    weight *= known
    return weight


def _count(voxels: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """Count the true voxels of each channel, `[1, K, 1, …]`."""
    counts = [np.count_nonzero(voxels[:, channel]) for channel in range(voxels.shape[1])]
    return np.reshape(counts, (1, -1, *(1,) * (voxels.ndim - 2)))

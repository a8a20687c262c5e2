"""Weights that let rare voxels count as much as common ones."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

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

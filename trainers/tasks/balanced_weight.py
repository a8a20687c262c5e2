"""Weights that let rare voxels count as much as common ones."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def balanced_weight(
    positive: npt.NDArray[np.bool_], known: npt.NDArray[np.bool_]
) -> npt.NDArray[np.float32]:
    """Let all positives together weigh as much as all negatives: half of the known voxels each.

    Everything is `[B, K, *block]`. Each channel is balanced by itself, over the whole batch;
    unknown voxels weigh 0. If one kind is absent, the other still weighs half.
    """
    other_axes = (0, *range(2, positive.ndim))

    def count(voxels: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
        sums: npt.NDArray[np.int64] = voxels.sum(axis=other_axes, keepdims=True)
        return sums

    half = count(known) / 2
    positive_weight = half / np.maximum(count(known & positive), 1)
    negative_weight = half / np.maximum(count(known & ~positive), 1)
    return (np.where(positive, positive_weight, negative_weight) * known).astype(np.float32)

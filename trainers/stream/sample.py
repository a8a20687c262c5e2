"""One sample of the data stream."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from attrs import frozen


@frozen(kw_only=True, eq=False)
class Sample:
    """One crop, before it is collated into a batch.

    `in` and `out` are the network's input and output shapes in voxels, z, y, x (2-D: y, x); C are
    the channels of raw, K those of the target.
    """

    raw: npt.NDArray[Any]
    """[C, *in], float32; or of an unsigned dtype, whose full range stands for 0 to 1."""
    gt: npt.NDArray[Any]
    """[*out], of the stored integer dtype."""
    target: npt.NDArray[np.float32]
    """[K, *out]"""
    mask: npt.NDArray[np.uint8]
    """[*out], 1 where the ground truth is known."""
    target_mask: npt.NDArray[np.uint8]
    """[K, *out], 1 where the target is known."""
    dataset: str
    """Name of the dataset that it was cut from."""
    begin: tuple[int, ...]
    """First voxel of its output block, before augments, in the voxel grid of the dataset's raw."""
    begin_nm: tuple[float, ...]
    """Lower corner of that voxel in nm, in the frame of the arrays."""

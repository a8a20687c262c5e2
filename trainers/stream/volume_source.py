"""Read the blocks of a dataset, and the gunpowder node that provides them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gunpowder as gp
import numpy as np
import numpy.typing as npt
from gunpowder import Coordinate, Roi

from trainers.datasets.array import Array
from trainers.datasets.dataset import Dataset
from trainers.errors import DataError
from trainers.gp_augments.thread_safe_node import ThreadSafeNode

RAW = gp.ArrayKey("RAW")
GT = gp.ArrayKey("GT")
MASK = gp.ArrayKey("MASK")

Block = npt.NDArray[Any]
PendingBlock = Callable[[], Block]
"""Waits for a read that was started, and returns the block."""


class VolumeReader:
    """A reader of raw, ground truth and mask in any region of world units, padded with 0.

    Every method starts its read at once and returns a function that waits for the block, so that
    several reads overlap.

    Args:
        clip_raw: Whether raw outside the ground truth's extent counts as missing.
        raw_as_stored: Keep raw in its dtype, if the full range of that stands for 0 to 1, instead
            of converting it to float32: a quarter of the memory to read in the warp.
    """

    def __init__(self, dataset: Dataset, *, clip_raw: bool, raw_as_stored: bool = False) -> None:
        self.dataset = dataset
        self.gt = dataset.ground_truth
        self._raw_as_stored = raw_as_stored and _uses_full_range(dataset.raw)
        self._raw_extent = dataset.raw.roi.intersect(self.gt.roi) if clip_raw else dataset.raw.roi

    def begin_raw(self, roi: Roi) -> PendingBlock:
        """Read raw, `[C, z, y, x]`, with a channel axis even for one channel."""
        return _begin(self.dataset.raw, roi, self._raw_extent, self._convert_raw)

    def begin_gt(self, roi: Roi) -> PendingBlock:
        """Read ids, `[z, y, x]`, in the stored dtype; bool is 0 and 1."""
        return _begin(self.gt, roi, self.gt.roi, _ids)

    def begin_mask(self, roi: Roi) -> PendingBlock:
        """Read the mask, uint8 `[z, y, x]`, 1 where ground truth is known.

        Without a mask, that is all of the ground truth's extent.
        """
        mask = self.dataset.mask
        if mask is not None:
            extent = mask.roi.intersect(self.gt.roi)
            return _begin(mask, roi, extent, lambda values: (values != 0).astype(np.uint8))
        inside = roi.intersect(self.gt.roi)
        voxel_size = self.gt.voxel_size
        return lambda: _pad(np.ones(inside.shape / voxel_size, np.uint8), inside, roi, voxel_size)

    def _convert_raw(self, values: Block) -> Block:
        raw = values if self._raw_as_stored else self._normalize(values)
        return raw if self.dataset.raw.num_channels is not None else raw[np.newaxis]

    def _normalize(self, values: Block) -> npt.NDArray[np.float32]:
        info = self.dataset.raw.info
        raw = values.astype(np.float32)
        if not np.isfinite(raw).all():
            raise DataError(
                f"raw of dataset {self.dataset.name!r} ({info.path}) holds NaN or infinite values; "
                "replace them with finite ones, or cut that part off"
            )
        if info.value_range is not None:
            low, high = info.value_range
            raw = ((raw - low) / (high - low)).clip(0, 1)
        return raw


class TensorStoreSource(ThreadSafeNode):
    """A node that provides RAW, GT and MASK of one dataset, in any region; reads overlap."""

    def __init__(self, reader: VolumeReader) -> None:
        self._begin = {RAW: reader.begin_raw, GT: reader.begin_gt, MASK: reader.begin_mask}
        self._voxel_size = reader.gt.voxel_size

    def setup(self) -> None:
        everywhere = gp.Roi((None,) * self._voxel_size.dims, (None,) * self._voxel_size.dims)
        for key in self._begin:
            self.provides(
                key,
                gp.ArraySpec(
                    roi=everywhere, voxel_size=self._voxel_size, interpolatable=key == RAW
                ),
            )

    def provide(self, request: gp.BatchRequest) -> gp.Batch:
        pending = {key: self._begin[key](spec.roi) for key, spec in request.array_specs.items()}
        batch = gp.Batch()
        for key, wait in pending.items():
            spec = self.spec[key].copy()
            spec.roi = request[key].roi
            batch[key] = gp.Array(wait(), spec)
        return batch


def _uses_full_range(raw: Array) -> bool:
    return raw.dtype.kind == "u" and raw.info.value_range == (0, np.iinfo(raw.dtype).max)


def _begin(array: Array, roi: Roi, extent: Roi, convert: Callable[[Block], Block]) -> PendingBlock:
    """Start to read what lies in both regions; the rest of `roi` is 0, after the conversion."""
    inside = roi.intersect(extent)
    read = _no_voxels(array) if inside.empty else array.begin_read(inside)
    return lambda: _pad(convert(read()), inside, roi, array.voxel_size)


def _ids(values: Block) -> Block:
    return values.view(np.uint8) if values.dtype == np.bool_ else values


def _no_voxels(array: Array) -> PendingBlock:
    channels = () if array.num_channels is None else (array.num_channels,)
    return lambda: np.empty((*channels, *(0,) * array.roi.dims), array.dtype)


def _pad(block: Block, inside: Roi, roi: Roi, voxel_size: Coordinate) -> Block:
    """Pad `block`, which covers `inside`, with zeros to cover `roi`."""
    if inside == roi:
        return block
    padded = np.zeros((*block.shape[: -roi.dims], *roi.shape / voxel_size), block.dtype)
    if not inside.empty:
        padded[..., *((inside - roi.begin) / voxel_size).to_slices()] = block
    return padded

"""Draw the locations of samples."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from funlib.geometry import Coordinate, Roi

from trainers.datasets.dataset import Dataset
from trainers.errors import DataError
from trainers.stream.mask_coverage import CoveredBlocks
from trainers.stream.mask_coverage_cache import covered_blocks

Voxel = npt.NDArray[np.int64]

MAX_ATTEMPTS = 2000
"""After so many rejections, draw from the list of covered blocks instead, which is slower."""


class RandomLocation:
    """A sampler of output blocks in the ground truth's extent that the mask covers enough.

    If the dataset has sample points, it draws a point uniformly, then a block that contains it. A
    block longer than the ground truth contains all of it. Drawing reads no voxels, unlike
    gunpowder's Reject, which reads every candidate. Threads may share an object.

    Args:
        block_shape: In voxels, z, y, x or y, x.
        min_masked: Fraction of the block that the mask must cover; None accepts any block.

    Raises:
        DataError: There is no ground truth, or the mask covers too little of every block.
    """

    def __init__(
        self, dataset: Dataset, *, block_shape: Sequence[int], min_masked: float | None
    ) -> None:
        gt = dataset.ground_truth
        self._voxel_size = gt.voxel_size
        self._shape = np.array(block_shape)
        extent = gt.roi / self._voxel_size
        self._origin = np.array(extent.begin)
        ends = np.array([extent.begin, extent.end - Coordinate(block_shape)])
        self._lowest, self._highest = ends.min(0), ends.max(0)
        self._points: npt.NDArray[np.int64] | None = None
        if dataset.sample_points is not None:
            self._points = np.floor(dataset.sample_points / self._voxel_size).astype(np.int64)
        self._covered: CoveredBlocks | None = None
        if min_masked:
            covered = covered_blocks(dataset, self._shape, min_masked)
            self._covered = None if covered.are_all else covered
            self._check(dataset, covered, min_masked)

    def pick(self, rng: np.random.Generator) -> Roi:
        """Draw a block on the voxel grid; return it in world units."""
        for _ in range(MAX_ATTEMPTS):
            first = rng.integers(*self._draw_range(rng), endpoint=True)
            if self._covered is None or self._covered.has(self._block_index(first)):
                break
        else:
            first = self._pick_covered(rng)
        return Roi(Coordinate(first), Coordinate(self._shape)) * self._voxel_size

    def _draw_range(self, rng: np.random.Generator) -> tuple[Voxel, Voxel]:
        if self._points is None:
            return self._lowest, self._highest
        return self._around(self._points[rng.integers(len(self._points))])

    def _around(self, voxel: Voxel) -> tuple[Voxel, Voxel]:
        """Return the lowest and highest first voxels of the blocks that contain a voxel."""
        return (
            np.maximum(voxel - self._shape + 1, self._lowest),
            np.minimum(voxel, self._highest),
        )

    def _block_index(self, first: Voxel) -> Voxel:
        """Convert a first voxel to z, y, x from the ground truth's, as in `CoveredBlocks`."""
        index = np.maximum(first - self._origin, 0)
        return np.concatenate([np.zeros(3 - len(index), np.int64), index])

    def _pick_covered(self, rng: np.random.Generator) -> Voxel:
        assert self._covered is not None
        ranges = [(self._lowest, self._highest)]
        if self._points is not None:
            ranges = [self._around(point) for point in rng.permutation(self._points)]
        lowest, highest = next(filter(self._has_covered, ranges))
        index = self._covered.pick_within(
            rng, self._block_index(lowest), self._block_index(highest)
        )
        # Along an axis where the block is longer than the ground truth, all positions are equal.
        return np.clip(self._origin + index[-len(lowest) :], lowest, highest)

    def _has_covered(self, ends: tuple[Voxel, Voxel]) -> bool:
        assert self._covered is not None
        return self._covered.num_within(*map(self._block_index, ends)) > 0

    def _check(self, dataset: Dataset, covered: CoveredBlocks, min_masked: float) -> None:
        if covered.num_blocks == 0:
            most = covered.max_count / self._shape.prod()
            raise DataError(
                f"dataset {dataset.name!r}: the mask covers at most {most:.3g} of an output block "
                f"of {'x'.join(map(str, self._shape))} voxels, and min_masked asks for "
                f"{min_masked:g}; lower min_masked, or check the mask"
            )
        if self._covered is None or self._points is None:
            return
        if not any(self._has_covered(self._around(point)) for point in self._points):
            raise DataError(
                f"dataset {dataset.name!r}: no output block of "
                f"{'x'.join(map(str, self._shape))} voxels around one of the "
                f"{len(self._points)} sample points is covered by the mask as much as min_masked "
                f"asks for, {min_masked:g}; lower min_masked, or check the points and the mask"
            )

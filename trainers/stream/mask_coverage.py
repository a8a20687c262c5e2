"""Find all blocks that a mask covers enough, in one pass, with sums over a sliding window.

The kernels release the GIL (`nogil`), so that threads overlap; compiled code is cached on disk
(`cache`), so that a requeued run does not compile it again.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numba
import numpy as np
import numpy.typing as npt
from attrs import frozen

Mask = npt.NDArray[np.uint8]
Voxel = npt.NDArray[np.int64]


@frozen(eq=False)
class CoveredBlocks:
    """The first voxels of blocks that are covered enough, as runs along x.

    Positions are in voxels from the mask's first one, in z, y, x order; in an image z is 0.
    """

    shape: tuple[int, int, int]
    """Number of positions along each axis at which a block lies inside the mask."""
    row_ends: npt.NDArray[np.int64]
    """`[z * y]`: number of runs up to the end of each row."""
    runs: npt.NDArray[np.int32]
    """`[run, 2]`: the first x of a run, and the first x after it."""
    max_count: int
    """Covered voxels of the block with the most of them."""

    @classmethod
    def of_one(cls, count: int, min_count: int) -> CoveredBlocks:
        """Describe a single block, of which `count` voxels are covered."""
        runs = np.array([[0, 1]] if count >= min_count else [], np.int32).reshape(-1, 2)
        return cls((1, 1, 1), np.array([len(runs)], np.int64), runs, count)

    @property
    def num_blocks(self) -> int:
        return int((self.runs[:, 1] - self.runs[:, 0]).sum(dtype=np.int64))

    @property
    def are_all(self) -> bool:
        """Whether every block is covered enough."""
        return self.num_blocks == math.prod(self.shape)

    def has(self, first: Voxel) -> bool:
        """Return whether the block at this first voxel, which lies inside, is covered enough."""
        return self.num_within(first, first) == 1

    def num_within(self, lowest: Voxel, highest: Voxel) -> int:
        """Count the blocks whose first voxel lies in a region, both ends included."""
        return int(_count(self.row_ends, self.runs, self.shape[1], lowest, highest))

    def pick_within(self, rng: np.random.Generator, lowest: Voxel, highest: Voxel) -> Voxel:
        """Draw the first voxel of a block in a region, uniformly; there must be one."""
        chosen = int(rng.integers(self.num_within(lowest, highest)))
        first = np.empty(3, np.int64)
        _find(self.row_ends, self.runs, self.shape[1], lowest, highest, chosen, first)
        return first


def find_covered_blocks(
    planes: Iterable[Mask],
    mask_shape: tuple[int, int, int],
    block_shape: tuple[int, int, int],
    min_count: int,
) -> CoveredBlocks:
    """Count the covered voxels of every block once, keeping as many planes as a block has.

    Args:
        planes: The planes of the mask, `[y, x]`, 1 where it covers, in order of z.
        mask_shape, block_shape: z, y, x; the block is nowhere longer than the mask.
        min_count: Voxels of a block that must be covered.
    """
    depth, height, width = block_shape
    shape = tuple(whole - part + 1 for whole, part in zip(mask_shape, block_shape, strict=True))
    columns = np.zeros(mask_shape[1:], np.int32)
    window: list[Mask] = []
    run_counts: list[npt.NDArray[np.int64]] = []
    all_runs: list[npt.NDArray[np.int32]] = []
    max_count = 0
    for plane in planes:
        columns += plane
        window.append(plane)
        if len(window) < depth:
            continue
        counts, runs, most = _covered_in_plane(columns, height, width, min_count)
        run_counts.append(counts)
        all_runs.append(runs)
        max_count = max(max_count, most)
        columns -= window.pop(0)
    return CoveredBlocks(
        shape=(shape[0], shape[1], shape[2]),
        row_ends=np.cumsum(np.concatenate(run_counts), dtype=np.int64),
        runs=np.concatenate(all_runs),
        max_count=max_count,
    )


@numba.njit(nogil=True, cache=True)
def _covered_in_plane(columns, height, width, min_count):  # type: ignore[no-untyped-def]
    """Return the runs of covered blocks in each row, from `columns`: sums over a block's planes."""
    num_rows, num_x = columns.shape[0] - height + 1, columns.shape[1] - width + 1
    counts = np.zeros(num_rows, np.int64)
    runs = np.empty((num_rows * ((num_x + 1) // 2), 2), np.int32)
    num_runs, most = 0, np.int64(0)
    sums = np.zeros(columns.shape[1], np.int64)
    for y in range(height - 1):
        for x in range(columns.shape[1]):
            sums[x] += columns[y, x]
    for y in range(num_rows):
        for x in range(columns.shape[1]):
            sums[x] += columns[y + height - 1, x]
        count = np.int64(0)
        for x in range(width - 1):
            count += sums[x]
        is_inside = False
        for x in range(num_x):
            count += sums[x + width - 1]
            most = max(most, count)
            if (count >= min_count) != is_inside:
                if is_inside:
                    runs[num_runs, 1] = x
                    num_runs += 1
                else:
                    runs[num_runs, 0] = x
                    counts[y] += 1
                is_inside = not is_inside
            count -= sums[x]
        if is_inside:
            runs[num_runs, 1] = num_x
            num_runs += 1
        for x in range(columns.shape[1]):
            sums[x] -= columns[y, x]
    return counts, runs[:num_runs].copy(), most


@numba.njit(nogil=True, cache=True)
def _count(row_ends, runs, num_rows, lowest, highest):  # type: ignore[no-untyped-def]
    total = 0
    for z in range(lowest[0], highest[0] + 1):
        for y in range(lowest[1], highest[1] + 1):
            row = z * num_rows + y
            for run in range(row_ends[row - 1] if row else 0, row_ends[row]):
                begin, end = max(runs[run, 0], lowest[2]), min(runs[run, 1], highest[2] + 1)
                total += max(end - begin, 0)
    return total


@numba.njit(nogil=True, cache=True)
def _find(row_ends, runs, num_rows, lowest, highest, number, first):  # type: ignore[no-untyped-def]
    """Set `first` to the block of this number within a region, in z, y, x order."""
    for z in range(lowest[0], highest[0] + 1):
        for y in range(lowest[1], highest[1] + 1):
            row = z * num_rows + y
            for run in range(row_ends[row - 1] if row else 0, row_ends[row]):
                begin, end = max(runs[run, 0], lowest[2]), min(runs[run, 1], highest[2] + 1)
                if number < end - begin:
                    first[0], first[1], first[2] = z, y, begin + number
                    return
                number -= max(end - begin, 0)

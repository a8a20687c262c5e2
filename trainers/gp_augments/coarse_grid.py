"""Where the voxels of a block come from, known at every few of them."""

from __future__ import annotations

import gunpowder as gp
import numpy as np
import numpy.typing as npt
from attrs import frozen

Positions = npt.NDArray[np.float64]


@frozen(eq=False)
class CoarseGrid:
    """Positions at the nodes of a grid over a block; in between they are linear.

    A position is an index of voxels, not whole, from the first voxel of the block.
    """

    positions: Positions
    """`[axis, *nodes]`, one node at every `step` voxels."""
    step: int

    def part(self, region: gp.Roi) -> GridPart:
        """What concerns a region, in voxels from the first one of the block."""
        nodes = [
            slice(begin // self.step, (end - 1) // self.step + 2)
            for begin, end in zip(region.begin, region.end, strict=True)
        ]
        start = tuple(begin % self.step for begin in region.begin)
        return GridPart(self.positions[:, *nodes], self.step, start, tuple(region.shape))


@frozen(eq=False)
class GridPart:
    """The nodes that surround a region of the block."""

    positions: Positions
    step: int
    start: tuple[int, ...]
    """Where, from the first of these nodes on, the region begins, in voxels."""
    shape: tuple[int, ...]
    """Of the region, in voxels."""

    @property
    def needed(self) -> gp.Roi:
        """The voxels that its values come from, in voxels from the first one of the block."""
        positions = self.positions.reshape(len(self.positions), -1)
        begin = gp.Coordinate(np.floor(positions.min(1)).astype(int))
        end = gp.Coordinate(np.ceil(positions.max(1)).astype(int)) + 1
        return gp.Roi(begin, end - begin)

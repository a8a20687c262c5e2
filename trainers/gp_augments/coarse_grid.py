"""The source positions of a block's voxels, on a coarse grid."""

from __future__ import annotations

import gunpowder as gp
import numpy as np
import numpy.typing as npt
from attrs import frozen

Positions = npt.NDArray[np.float64]


@frozen(eq=False)
class CoarseGrid:
    """Positions at the nodes of a grid over a block; linear in between.

    A position is a fractional voxel index, relative to the first voxel of the block.
    """

    positions: Positions
    """`[axis, *nodes]`, a node every `step` voxels."""
    step: int

    def part(self, region: gp.Roi) -> GridPart:
        """Return the part that covers a region, given in voxels from the block's first one."""
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
    """Where the region begins, in voxels from the first of these nodes."""
    shape: tuple[int, ...]
    """Shape of the region, in voxels."""

    @property
    def needed(self) -> gp.Roi:
        """The voxels that the region's values come from, relative to the block's first one."""
        positions = self.positions.reshape(len(self.positions), -1)
        begin = gp.Coordinate(np.floor(positions.min(1)).astype(int))
        end = gp.Coordinate(np.ceil(positions.max(1)).astype(int)) + 1
        return gp.Roi(begin, end - begin)

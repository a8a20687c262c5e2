"""Mirror and transpose blocks."""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from attrs import frozen
from gunpowder import Coordinate, Roi

Key = TypeVar("Key")


@frozen
class Orientation:
    """A mirroring of axes, followed by a permutation."""

    mirrored: tuple[bool, ...]
    """Whether an axis is reversed, by axes before the permutation."""
    order: tuple[int, ...]
    """The axis that becomes the first, the second, …"""

    @classmethod
    def unchanged(cls, num_axes: int) -> Orientation:
        """Return the identity."""
        return cls((False,) * num_axes, tuple(range(num_axes)))

    @classmethod
    def draw(cls, seed: int, exchangeable: Sequence[int], num_axes: int) -> Orientation:
        """Return the one that gunpowder's SimpleAugment draws from a seed, draw by draw.

        Args:
            exchangeable: Axes that may be permuted.
        """
        rng = random.Random(seed)
        rng.random()  # SimpleAugment draws whether it does anything; its probability is 1
        mirrored = tuple(rng.random() < 0.5 for _ in range(num_axes))
        order = list(range(num_axes))
        for axis, drawn in zip(
            exchangeable, rng.sample(list(exchangeable), len(exchangeable)), strict=True
        ):
            order[axis] = drawn
        return cls(mirrored, tuple(order))

    def regions_before(self, regions: Mapping[Key, Roi]) -> dict[Key, Roi]:
        """Return the regions, in voxels, that become these when they are turned.

        Axes are permuted about the middle voxel of all regions together, and mirrored about the
        middle of all of them.
        """
        center = _whole(regions.values()).begin + _whole(regions.values()).shape // 2
        moved = {}
        for key, region in regions.items():
            begin = [0] * len(self.order)
            shape = [0] * len(self.order)
            for axis, before in enumerate(self.order):
                begin[before] = center[before] - (center[axis] - region.begin[axis])
                shape[before] = region.shape[axis]
            moved[key] = Roi(begin, shape)
        whole = _whole(moved.values())
        return {key: self._mirror(region, whole) for key, region in moved.items()}

    def turn(self, data: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return a view of a block `[..., *axes]`, mirrored and permuted."""
        num_others = data.ndim - len(self.order)
        steps = tuple(slice(None, None, -1 if each else None) for each in self.mirrored)
        axes = (*range(num_others), *(num_others + axis for axis in self.order))
        return data[(..., *steps)].transpose(axes)

    def positions_before(
        self, positions: npt.NDArray[np.float64], shape: Sequence[int]
    ) -> npt.NDArray[np.float64]:
        """Convert indices `[axis, …]` into a turned block to indices into the block before.

        Args:
            shape: Of the block before, in voxels.
        """
        before = np.empty_like(positions)
        for axis, source in enumerate(self.order):
            last = shape[source] - 1
            before[source] = last - positions[axis] if self.mirrored[source] else positions[axis]
        return before

    def _mirror(self, region: Roi, whole: Roi) -> Roi:
        begin = [
            whole.begin[axis] + whole.end[axis] - region.end[axis] if each else region.begin[axis]
            for axis, each in enumerate(self.mirrored)
        ]
        return Roi(begin, region.shape)


def _whole(regions: Collection[Roi]) -> Roi:
    begin = Coordinate(np.min([each.begin for each in regions], axis=0))
    end = Coordinate(np.max([each.end for each in regions], axis=0))
    return Roi(begin, end - begin)

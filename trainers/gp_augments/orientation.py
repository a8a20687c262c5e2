"""Mirror and transpose blocks: which way round they lie."""

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
    """Mirrors axes, and then gives them another order."""

    mirrored: tuple[bool, ...]
    """Whether an axis runs backwards, before they are put in order."""
    order: tuple[int, ...]
    """Which of the axes comes first, second, …"""

    @classmethod
    def unchanged(cls, num_axes: int) -> Orientation:
        """The one of blocks that stay as they are."""
        return cls((False,) * num_axes, tuple(range(num_axes)))

    @classmethod
    def draw(cls, seed: int, exchangeable: Sequence[int], num_axes: int) -> Orientation:
        """The one that gunpowder's SimpleAugment draws from a seed.

        Args:
            exchangeable: Axes that may take each other's place.
        """
        rng = random.Random(seed)
        rng.random()  # there, it decides whether anything is done
        mirrored = tuple(rng.random() < 0.5 for _ in range(num_axes))
        order = list(range(num_axes))
        for axis, drawn in zip(
            exchangeable, rng.sample(list(exchangeable), len(exchangeable)), strict=True
        ):
            order[axis] = drawn
        return cls(mirrored, tuple(order))

    def regions_before(self, regions: Mapping[Key, Roi]) -> dict[Key, Roi]:
        """Where the content of regions comes from, in voxels.

        Axes are exchanged about the middle voxel of all regions together, and mirrored about the
        middle of all of them.
        """
        centre = _whole(regions.values()).begin + _whole(regions.values()).shape // 2
        moved = {}
        for key, region in regions.items():
            begin = [0] * len(self.order)
            shape = [0] * len(self.order)
            for axis, before in enumerate(self.order):
                begin[before] = centre[before] - (centre[axis] - region.begin[axis])
                shape[before] = region.shape[axis]
            moved[key] = Roi(begin, shape)
        whole = _whole(moved.values())
        return {key: self._mirror(region, whole) for key, region in moved.items()}

    def turn(self, data: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """A view of a region before, `[..., *axes]`, that lies this way round."""
        num_others = data.ndim - len(self.order)
        steps = tuple(slice(None, None, -1 if each else None) for each in self.mirrored)
        axes = (*range(num_others), *(num_others + axis for axis in self.order))
        return data[(..., *steps)].transpose(axes)

    def positions_before(
        self, positions: npt.NDArray[np.float64], shape: Sequence[int]
    ) -> npt.NDArray[np.float64]:
        """Indices into a region before that stand for indices `[axis, …]` into it, turned.

        Args:
            shape: Of the region before.
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

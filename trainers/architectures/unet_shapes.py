"""What a U-Net does to the number of voxels along one axis."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count


def output_size(size: int, factors: Sequence[int], *, shrinkage: int) -> int:
    """Voxels that come out where `size` go in.

    Args:
        factors: By how much each level is down-sampled, full resolution first.
        shrinkage: Voxels that the convolutions of one level take away.

    Raises:
        ValueError: The size does not work; the message names the level, 0 at full resolution.
    """
    for level, factor in enumerate(factors):
        size = _convolved(size, shrinkage, f"level {level}")
        if size % factor:
            raise ValueError(f"level {level} cannot down-sample {size} voxels by {factor}")
        size //= factor
    size = _convolved(size, shrinkage, f"level {len(factors)}")
    for level, factor in reversed(list(enumerate(factors))):
        size = _convolved(size * factor, shrinkage, f"level {level}, on the way up,")
    return size


def nearest_sizes(size: int, factors: Sequence[int], *, shrinkage: int) -> tuple[int, int]:
    """The nearest working sizes, below and above; twice the one above if there is none below."""

    def works(candidate: int) -> bool:
        try:
            output_size(candidate, factors, shrinkage=shrinkage)
        except ValueError:
            return False
        return True

    above = next(filter(works, count(size)))
    below = next(filter(works, range(size, 0, -1)), above)
    return below, above


def _convolved(size: int, shrinkage: int, where: str) -> int:
    if size <= shrinkage:
        raise ValueError(f"{where} has {size} voxels, but its convolutions need {shrinkage + 1}")
    return size - shrinkage

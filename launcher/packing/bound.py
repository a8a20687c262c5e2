"""How many nodes runs need at the very least."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import accumulate
from operator import attrgetter

from launcher.packing.demand import GPU, Size

_MAX_THRESHOLDS = 100
_MAX_PARTS = 12
_MAX_SIZES = 10_000
"""Looked at for all the thresholds of a resource together."""


def lower_bound(counts: Mapping[Size, int], node: Size) -> int:
    """A number of nodes that no packing side by side goes below.

    A run over several nodes counts as one on each. Runs that leave less than a threshold of some
    resource on their node have it for themselves as far as those go that ask for at least the
    threshold; so the bounds of both kinds, each by the resource that serves best, add up.
    """
    best = max(_by_resource(counts, node), *(size.nodes for size in counts))
    for amount_of, capacity in _resources(node):
        for threshold in _thresholds(counts, amount_of, capacity):
            alone, others = 0, dict[Size, int]()
            for size, count in counts.items():
                amount = amount_of(size)
                if amount > capacity - threshold:
                    alone += count * size.nodes
                elif amount >= threshold:
                    others[size] = count
            best = max(best, alone + _by_resource(others, node))
    return best


def _resources(node: Size) -> Iterator[tuple[Callable[[Size], int], int]]:
    yield attrgetter("gpu_units"), node.gpu_units
    yield attrgetter("cpus"), node.cpus
    yield attrgetter("memory"), node.memory


def _thresholds(
    counts: Mapping[Size, int], amount_of: Callable[[Size], int], capacity: int
) -> list[int]:
    """Amounts up to half of what there is, evenly chosen if there are many."""
    amounts = sorted({amount for size in counts if 0 < 2 * (amount := amount_of(size)) <= capacity})
    most = max(1, min(_MAX_THRESHOLDS, _MAX_SIZES // len(counts)))
    return amounts[:: -(-len(amounts) // most)] if amounts else []


def _by_resource(counts: Mapping[Size, int], node: Size) -> int:
    """The best of the bounds that each resource gives by itself."""
    cpus, memory, gpus, shares = (Counter[int]() for _ in range(4))
    for size, count in counts.items():
        amount = count * size.nodes
        cpus[size.cpus] += amount
        memory[size.memory] += amount
        gpus[size.whole] += amount
        shares[size.share] += amount
    gpus[1] += bins(shares, GPU)  # so many GPUs are shared, and no run has one of them for itself
    return max(bins(gpus, node.whole), bins(cpus, node.cpus), bins(memory, node.memory))


def bins(counts: Mapping[int, int], capacity: int) -> int:
    """At least so many bins are needed for items of these sizes.

    The best of three families of dual feasible functions: what the function makes of the items of
    any full bin is at most 1, so its sum over all items is a bound (Fekete and Schepers, 2001).
    """
    sizes = sorted(size for size, count in counts.items() if size and count)
    if not sizes:
        return 0
    amounts = [counts[size] for size in sizes]
    best = -(-sum(map(int.__mul__, sizes, amounts)) // capacity)
    best = max(best, _best_of_thresholds(sizes, amounts, capacity))
    for parts in range(1, _MAX_PARTS + 1):
        best = max(best, _parts_bound(zip(sizes, amounts, strict=True), capacity, parts))
    return best


def _best_of_thresholds(sizes: list[int], amounts: list[int], capacity: int) -> int:
    """Martello and Toth's L2: items that leave less than t count whole, those below t nothing."""
    below = [0, *accumulate(amounts)]
    volume = [0, *accumulate(map(int.__mul__, sizes, amounts))]
    half = bisect_right(sizes, capacity // 2)
    thresholds = sizes[:half]
    if len(thresholds) > _MAX_THRESHOLDS:
        thresholds = thresholds[:: len(thresholds) // _MAX_THRESHOLDS]
    best = below[-1] - below[half]
    for threshold in thresholds:
        whole = bisect_right(sizes, capacity - threshold)
        small = bisect_left(sizes, threshold)
        alone = below[-1] - below[whole]
        best = max(best, alone + -(-(volume[whole] - volume[small]) // capacity))
    return best


def _parts_bound(items: Iterable[tuple[int, int]], capacity: int, parts: int) -> int:
    """Sizes rounded down to multiples of 1 / parts, but where (parts + 1) of them fill a bin."""
    total = 0  # in units of 1 / (parts * capacity)
    for size, amount in items:
        scaled = size * (parts + 1)
        if scaled % capacity == 0:
            total += amount * size * parts
        else:
            total += amount * (scaled // capacity) * capacity
    return -(-total // (parts * capacity))

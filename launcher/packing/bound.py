"""Lower bounds on the nodes that runs need side by side.

One resource alone is bin packing, and `bins` bounds it by dual feasible functions: a function f of
sizes is one if any items that fit into a bin, sizes as fractions of it, have values of f that sum
up to at most 1. The sum of f over all items is then a lower bound on the bins. See Martello and
Toth, "Lower bounds and reduction procedures for the bin packing problem" (1990), and Fekete and
Schepers, "New classes of fast lower bounds for bin packing problems" (2001). `lower_bound` takes
the best of these over GPUs, CPUs and memory, and combines two resources as L2 splits one.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import accumulate
from operator import attrgetter

from launcher.packing.demand import GPU, Size

_MAX_THRESHOLDS = 100
_MAX_PARTS = 12
"""The largest k of `_rounding_bound`."""
_MAX_SIZES = 10_000
"""Sizes examined per resource, over all of its thresholds: it bounds the time for many sizes."""


def lower_bound(counts: Mapping[Size, int], node: Size) -> int:
    """Return a number of nodes below which no packing side by side exists.

    For each resource and threshold t, as in Martello and Toth's L2: a run that takes more than
    capacity - t needs a node that it shares with no run of t or more. So the number of such large
    runs and a lower bound for the medium ones, between t and capacity - t, add up; the medium ones
    are bounded by whichever resource gives the best bound.

    Args:
        counts: How many runs have each size; a run over several nodes counts as one on each.
        node: What a node has.
    """
    best = max(_by_resource(counts, node), *(size.nodes for size in counts))
    for amount_of, capacity in _resources(node):
        for threshold in _thresholds(counts, amount_of, capacity):
            large, medium = 0, dict[Size, int]()
            for size, count in counts.items():
                amount = amount_of(size)
                if amount > capacity - threshold:
                    large += count * size.nodes
                elif amount >= threshold:
                    medium[size] = count
            best = max(best, large + _by_resource(medium, node))
    return best


def _resources(node: Size) -> Iterator[tuple[Callable[[Size], int], int]]:
    yield attrgetter("gpu_units"), node.gpu_units
    yield attrgetter("cpus"), node.cpus
    yield attrgetter("memory"), node.memory


def _thresholds(
    counts: Mapping[Size, int], amount_of: Callable[[Size], int], capacity: int
) -> list[int]:
    """Return the amounts up to half the capacity; an even selection if there are many."""
    amounts = sorted({amount for size in counts if 0 < 2 * (amount := amount_of(size)) <= capacity})
    most = max(1, min(_MAX_THRESHOLDS, _MAX_SIZES // len(counts)))
    return amounts[:: -(-len(amounts) // most)] if amounts else []


def _by_resource(counts: Mapping[Size, int], node: Size) -> int:
    """Return the best of the bounds that each resource gives alone."""
    cpus, memory, gpus, shares = (Counter[int]() for _ in range(4))
    for size, count in counts.items():
        amount = count * size.nodes
        cpus[size.cpus] += amount
        memory[size.memory] += amount
        gpus[size.whole] += amount
        shares[size.share] += amount
    gpus[1] += bins(shares, GPU)  # GPUs that are shared, and so not available as whole ones
    return max(bins(gpus, node.whole), bins(cpus, node.cpus), bins(memory, node.memory))


def bins(counts: Mapping[int, int], capacity: int) -> int:
    """Return a lower bound on the bins for items: the best of three dual feasible functions.

    They are the identity (the total size), the thresholds of L2, and rounding to multiples of 1/k.

    Args:
        counts: How many items have each size.
    """
    sizes = sorted(size for size, count in counts.items() if size and count)
    if not sizes:
        return 0
    amounts = [counts[size] for size in sizes]
    best = -(-sum(map(int.__mul__, sizes, amounts)) // capacity)
    best = max(best, _threshold_bound(sizes, amounts, capacity))
    for parts in range(1, _MAX_PARTS + 1):
        best = max(best, _rounding_bound(zip(sizes, amounts, strict=True), capacity, parts))
    return best


def _threshold_bound(sizes: list[int], amounts: list[int], capacity: int) -> int:
    """Return Martello and Toth's L2, Fekete and Schepers's U: the best over thresholds t.

    Items above capacity - t count as a whole bin, those below t as nothing, others as their size.
    """
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
        large = below[-1] - below[whole]
        best = max(best, large + -(-(volume[whole] - volume[small]) // capacity))
    return best


def _rounding_bound(items: Iterable[tuple[int, int]], capacity: int, parts: int) -> int:
    """Return the bound of Fekete and Schepers's u(k), with k = parts.

    Of a size x, as a fraction of a bin: x itself if (k + 1)·x is an integer, else
    floor((k + 1)·x) / k.
    """
    total = 0  # in units of 1 / (parts * capacity)
    for size, amount in items:
        scaled = size * (parts + 1)
        if scaled % capacity == 0:
            total += amount * size * parts
        else:
            total += amount * (scaled // capacity) * capacity
    return -(-total // (parts * capacity))

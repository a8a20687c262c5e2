"""Sums in an order that depends on the number of terms alone.

The tree is made from the top: each node adds up two halves of its terms. So 2, 4, 8, … equal parts
of the terms, where there are such, are whole sub-trees: whoever adds up a part by itself, and then
the parts in pairs, gets every bit that one gets who adds up everything.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")


def fold(terms: range, term: Callable[[int], T], combine: Callable[[T, T], T]) -> T:
    """Combine at least one term, in order and depth first: few results are alive at a time.

    Args:
        term: Gives the term at an index.
        combine: May re-use both of its arguments.
    """
    if len(terms) == 1:
        return term(terms[0])
    middle = (len(terms) + 1) // 2
    first = fold(terms[:middle], term, combine)
    return combine(first, fold(terms[middle:], term, combine))


def tree_sum(values: Sequence[float]) -> float:
    """The sum of at least one value."""
    return fold(range(len(values)), lambda index: values[index], float.__add__)

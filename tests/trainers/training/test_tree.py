"""The order in which terms are added up."""

import random

import pytest

from trainers.training.gradient_tree import fold, tree_sum


def in_parts(values, num_ranks):
    """As ranks do it: each its part, then pairs of ranks, and so on."""
    share = len(values) // num_ranks
    sums = [tree_sum(values[start : start + share]) for start in range(0, len(values), share)]
    while len(sums) > 1:
        sums = [one + other for one, other in zip(sums[::2], sums[1::2], strict=True)]
    return sums[0]


def test_the_order_is_that_of_a_tree_of_halves():
    """Depth first, from the first term on; the larger half comes first."""

    def show(number):
        return fold(range(number), str, lambda one, other: f"({one}+{other})")

    assert show(1) == "0"
    assert show(4) == "((0+1)+(2+3))"
    assert show(6) == "(((0+1)+2)+((3+4)+5))"


@pytest.mark.parametrize("num_terms", [1, 2, 3, 4, 6, 8, 12, 20, 24, 40, 56])
def test_ranks_find_the_sum_of_a_single_one(num_terms):
    """Every power of two of equal parts gives the same bits."""
    draw = random.Random(num_terms)
    for _ in range(200):
        values = [draw.gauss(0, 1) * 10 ** draw.randint(-6, 6) for _ in range(num_terms)]
        sums = {
            in_parts(values, num_ranks) for num_ranks in (1, 2, 4, 8) if num_terms % num_ranks == 0
        }
        assert sums == {tree_sum(values)}


def test_few_results_are_alive_at_a_time():
    """So many as the tree has levels, and one."""
    alive, most = 0, 0

    def term(index):
        nonlocal alive, most
        alive += 1
        most = max(most, alive)
        return index

    def combine(one, other):
        nonlocal alive
        alive -= 1
        return one + other

    assert fold(range(64), term, combine) == sum(range(64))
    assert most == 7

"""Gradients and buffers of a batch, from leaves, and the order in which terms are added up."""

import random

import numpy as np
import pytest
import torch
from torch import nn

from trainers.distributed.process_group import ALONE
from trainers.training.gradient_tree import TreeAccumulation, tree_reduce, tree_sum


class Net(nn.Module):
    """Has buffers of every kind, and a parameter that it never uses."""

    mean: torch.Tensor
    calls: torch.Tensor
    limit: torch.Tensor
    started: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3))
        self.unused = nn.Parameter(torch.ones(2))
        self.frozen = nn.Parameter(torch.ones(2), requires_grad=False)
        self.register_buffer("mean", torch.tensor(10.0))
        self.register_buffer("calls", torch.tensor(0))
        self.register_buffer("limit", torch.tensor([float("-inf"), 0.1]))
        self.register_buffer("started", torch.tensor(False))

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        self.mean += 0.5 * (value - self.mean)
        self.calls += 1
        self.started |= True
        return (self.weight * value).sum()


def run(net, values, weights):
    """One iteration with a leaf for each value."""
    tree = TreeAccumulation(net, ALONE, num_micro_batches=len(values), seed=3)

    def backward(network, position, factor):
        loss = factor * network(torch.tensor(float(values[position])))
        loss.backward()
        return loss.detach()

    return tree.run(7, weights, backward).loss


def test_leaves_count_by_their_weights():
    """Loss and gradient are the weighted means; what is used by no leaf has no gradient."""
    net = Net()

    loss = run(net, [1, 2, 6], [1.0, 3.0, 0.0])

    assert loss == pytest.approx(3 * (1 * 1 + 3 * 2) / 4)
    torch.testing.assert_close(net.weight.grad, torch.full((3,), 7 / 4))
    assert net.unused.grad is None
    assert net.frozen.grad is None


def test_changes_of_buffers_are_averaged():
    """Each leaf starts from the buffers of the iteration, and constants stay as they are."""
    net = Net()

    run(net, [2, 4, 12], [1.0, 1.0, 1.0])

    assert net.mean.item() == 8.0
    assert net.calls.item() == 1
    assert net.started.item() is True
    assert net.limit.tolist() == [float("-inf"), pytest.approx(0.1)]


class OddNet(nn.Module):
    """Has buffers that no float holds exactly, and a complex weight and buffer."""

    large: torch.Tensor
    flags: torch.Tensor
    small: torch.Tensor
    wave: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.odd = nn.Parameter(torch.ones(3))
        self.weight = nn.Parameter(torch.ones(2, dtype=torch.complex64))
        self.register_buffer("large", torch.tensor(2**60 + 1))
        self.register_buffer("flags", torch.tensor([True, False, False]))
        self.register_buffer("small", torch.tensor([250, 3], dtype=torch.uint8))
        self.register_buffer("wave", torch.tensor([1 + 1j]))

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        self.large += 2**55 + int(value)
        self.flags[1] = value > 1
        self.flags[2] = value > 8
        self.small += torch.tensor([1, -1], dtype=torch.int8)
        self.wave *= 1 + value * 1j
        return (self.weight * (value + 1j)).real.sum() + self.odd.sum()


def test_what_is_no_float_is_exact():
    """Integers beyond 2**53, booleans by majority, complex numbers in both of their parts."""
    net = OddNet()

    run(net, [2, 4, 12, 1], [1.0] * 4)

    assert net.large.item() == 2**60 + 1 + 2**55 + 5  # 4.75 on average, rounded
    assert net.flags.tolist() == [True, True, False]
    assert net.small.tolist() == [251, 2]
    assert net.wave.tolist() == [1 + 1j + (-1 + 1j) * 4.75]
    torch.testing.assert_close(net.weight.grad, torch.full((2,), 4.75 - 1j))


def test_a_batch_without_weight_changes_nothing():
    """If every voxel is masked, loss and gradients are what the loss makes of nothing: 0."""
    net = Net()

    assert run(net, [0, 0], [0.0, 0.0]) == 0
    assert net.weight.grad.tolist() == [0, 0, 0]


def test_a_leaf_draws_the_same_wherever_it_is_computed():
    """What a forward pass draws depends on seed, iteration and leaf, not on what was before."""

    class Drawing(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(1))
            self.drawn = []

        def forward(self, value):
            self.drawn.append((torch.rand(1).item(), random.random(), np.random.random()))
            return self.weight.sum()

    first, second = Drawing(), Drawing()
    run(first, [0, 0, 0, 0], [1.0] * 4)
    torch.manual_seed(5)
    run(second, [0, 0, 0, 0], [1.0] * 4)

    assert first.drawn == second.drawn
    assert len(set(first.drawn)) == 4


def test_the_vectors_are_used_again():
    """A second iteration takes no more memory, and does not see the first one's gradients."""
    net = Net()
    tree = TreeAccumulation(net, ALONE, num_micro_batches=4, seed=0)

    def backward(network, position, factor):
        loss = factor * network(torch.tensor(1.0))
        loss.backward()
        return loss.detach()

    tree.run(0, [1.0] * 4, backward)
    before = {each.vector.data_ptr() for each in tree._spare}
    tree.run(1, [1.0] * 4, backward)

    assert {each.vector.data_ptr() for each in tree._spare} == before
    assert net.weight.grad.tolist() == [1, 1, 1]


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
        return tree_reduce(range(number), str, lambda one, other: f"({one}+{other})")

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

    assert tree_reduce(range(64), term, combine) == sum(range(64))
    assert most == 7

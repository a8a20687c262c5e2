"""Gradients and buffers of a batch, from leaves."""

import random

import numpy as np
import pytest
import torch
from torch import nn

from trainers.distributed.process_group import ALONE
from trainers.training.gradient_tree import TreeAccumulation


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
    tree = TreeAccumulation(net, ALONE, num_leaves=len(values), seed=3)

    def backward(network, position, factor):
        loss = factor * network(torch.tensor(float(values[position])))
        loss.backward()
        return loss.detach()

    return tree.run(7, weights, backward)


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
    tree = TreeAccumulation(net, ALONE, num_leaves=4, seed=0)

    def backward(network, position, factor):
        loss = factor * network(torch.tensor(1.0))
        loss.backward()
        return loss.detach()

    tree.run(0, [1.0] * 4, backward)
    before = {each.vector.data_ptr() for each in tree._spare}
    tree.run(1, [1.0] * 4, backward)

    assert {each.vector.data_ptr() for each in tree._spare} == before
    assert net.weight.grad.tolist() == [1, 1, 1]

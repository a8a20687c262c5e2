import random

import numpy as np
import pytest
import torch

from trainers.random_state import RandomState


@pytest.fixture(autouse=True)
def _restore_generators():
    saved = random.getstate(), np.random.get_state(), torch.get_rng_state()
    yield
    random.setstate(saved[0])
    np.random.set_state(saved[1])
    torch.set_rng_state(saved[2])


def draw() -> tuple[float, float, float]:
    return random.random(), float(np.random.random()), float(torch.rand(()))


def test_an_iteration_draws_the_same_whatever_came_before():
    """Only seed and iteration decide what the global generators give."""
    RandomState.of_iteration(7, 3).apply()
    first = draw()
    draw()

    RandomState.of_iteration(7, 3).apply()

    assert draw() == first


def test_seeds_and_iterations_differ():
    """Another seed or another iteration draws other numbers, from every generator."""
    drawn = []
    for seed, iteration in ((7, 3), (7, 4), (8, 3)):
        RandomState.of_iteration(seed, iteration).apply()
        drawn.append(draw())

    assert [len(set(column)) for column in zip(*drawn, strict=True)] == [3, 3, 3]


def test_a_saved_state_goes_on_in_the_middle():
    """The tensors of state_dict hold everything that apply needs."""
    state = RandomState.of_iteration(1, 1)

    copy = RandomState(**state.state_dict())

    state.apply()
    first = draw()
    copy.apply()
    assert draw() == first

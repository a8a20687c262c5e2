import random

import numpy as np
import pytest
import torch

from trainers.training.random_state import RandomState, generator_of_sample


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


def test_seeds_iterations_and_ranks_differ():
    """Another seed, iteration or rank draws other numbers, from every generator."""
    drawn = []
    for place in ((7, 3), (7, 4), (8, 3), (7, 3, 1), (7, 3, 2)):
        RandomState.of_iteration(*place).apply()
        drawn.append(draw())

    assert [len(set(column)) for column in zip(*drawn, strict=True)] == [5, 5, 5]


def test_the_first_rank_draws_what_a_single_one_does():
    """So that the checkpoints of runs without ranks stay what they are."""
    RandomState.of_iteration(7, 3).apply()
    single = draw()

    RandomState.of_iteration(7, 3, 0).apply()

    assert draw() == single
    assert single[2] == 0.202223002910614


def test_a_sample_has_a_generator_of_its_own():
    """Seed, iteration and index decide what it draws."""
    places = ((7, 3, 0), (7, 3, 1), (7, 4, 0), (8, 3, 0), (7, 3, 0))

    drawn = [float(torch.rand((), generator=generator_of_sample(*each))) for each in places]

    assert drawn[0] == drawn[4]
    assert len(set(drawn)) == 4


def test_a_saved_state_goes_on_in_the_middle():
    """The tensors of state_dict hold everything that apply needs."""
    state = RandomState.of_iteration(1, 1)

    copy = RandomState(**state.state_dict())

    state.apply()
    first = draw()
    copy.apply()
    assert draw() == first

"""Runs that are the same, bit for bit, on any number of ranks."""

import random
import signal
from typing import Any

import pytest
import torch

import trainers
from scripts.workloads.logs import json_lines
from scripts.workloads.ranks import Attempt
from scripts.workloads.small_runs import EVERYTHING, outcome, write_run
from trainers.checkpoints.checkpoint_reader import CheckpointReader
from trainers.config.config_io import read_run_config
from trainers.errors import ConfigError

EXACT = {"trainer.exact_across_ranks": True, "num_iterations": 24}


def train(folder, *numbers_of_ranks):
    """To the end, by so many ranks, then by so many; all but the last are told to stop."""
    for number, size in enumerate(numbers_of_ranks):
        attempt = Attempt(folder, size, number=number)
        if number < len(numbers_of_ranks) - 1:
            attempt.wait_for_iteration(6 * number + 2)
            random.choice(attempt.ranks).send_signal(signal.SIGTERM)
            assert attempt.end() == [75] * size, attempt.logs()
        else:
            assert attempt.end() == [0] * size, attempt.logs()
        assert "number of ranks" not in attempt.logs()


@pytest.mark.slow
def test_any_number_of_ranks_trains_the_same_run(tmp_path):
    """One that changes from 8 to 2 to 4 ranks ends as one of a single rank does."""
    changes: dict[str, Any] = {**EXACT, "net": {"dropout": 0.2}}
    one, many = (write_run(tmp_path, name, **changes) for name in ("one", "many"))

    train(one, 1)
    train(many, 8, 2, 4)

    assert outcome(many) == outcome(one)
    assert len(json_lines(one.metrics)) == 24


@pytest.mark.slow
def test_everything_that_a_step_remembers_goes_from_rank_to_rank(tmp_path):
    """Scale of the loss, averages, schedule; also if leaves are of several samples, not 2 to the n.

    The averaged network is the one that the run keeps.
    """
    batch = {"trainer.batch_size": 24, "trainer.micro_batch_size": 2}
    changes: dict[str, Any] = {**EXACT, **EVERYTHING, **batch}
    one, many = (write_run(tmp_path, name, **changes) for name in ("one", "many"))

    train(one, 1)
    train(many, 4, 1, 2)

    assert outcome(many) == outcome(one)
    config = read_run_config(many.config)
    checkpoint = CheckpointReader(many.checkpoints, fingerprint=config.fingerprint).newest()
    state = checkpoint.state["trainer"]
    assert state["loss_scale"]["scale"] < 65536
    averaged, last = trainers.load_model(many.path, averaged=True), trainers.load_model(many.path)
    assert set(averaged.state_dict()) == set(state["averaged_weights"])
    for name, average in averaged.state_dict().items():
        assert torch.equal(average, state["averaged_weights"][name])
        assert not average.is_floating_point() or not torch.equal(average, last.state_dict()[name])


@pytest.mark.slow
def test_ranks_that_would_add_up_otherwise_are_refused(tmp_path):
    """By every rank, before anything is trained; it is said which numbers would do."""
    attempt = Attempt(write_run(tmp_path, "run", {**EXACT, "trainer.batch_size": 12}), 3)

    assert attempt.end() == [2, 2, 2]
    assert "numbers of ranks that can: 1, 2, 4" in attempt.logs()


@pytest.mark.slow
def test_a_run_without_an_average_has_none_to_give(tmp_path):
    """The error says which key would have made one."""
    folder = write_run(tmp_path, "run", num_iterations=1)
    assert Attempt(folder).end() == [0]

    with pytest.raises(ConfigError, match=r"has no trainer\.ema_decay"):
        trainers.load_model(folder.path, averaged=True)

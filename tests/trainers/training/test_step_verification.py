"""Steps that are computed twice: a flipped bit is found, and a sound run is as without."""

import copy
from typing import Any

import pytest
import torch

from scripts.workloads.logs import json_lines
from scripts.workloads.ranks import Attempt
from scripts.workloads.small_runs import BATCH_SIZE, EVERYTHING, outcome, write_run
from trainers.checkpoints.checkpoint_reader import CheckpointReader
from trainers.training.random_state import RandomState
from trainers.training.step_verification import differences

FLIPPING_NET = '''
import hashlib
from pathlib import Path

import torch

import my_net

class Net(my_net.Net):
    """Flips one bit of a weight when it sees the sample that a file names, and removes the file."""

    def __init__(self, in_channels, flip, **arguments):
        super().__init__(in_channels, **arguments)
        self.flip = Path(flip)

    def forward(self, raw):
        found = [hashlib.sha256(each.numpy().tobytes()).hexdigest() for each in raw]
        if self.flip.exists() and self.flip.read_text() in found:
            self.flip.unlink()
            self[0].weight.data.view(torch.int32)[0, 0, 0, 0, 0] ^= 1 << 20
        return super().forward(raw)
'''
BAD = 11
"""The iteration with a flipped bit."""
CHANGES: dict[str, Any] = {
    **EVERYTHING,
    "trainer.exact_across_ranks": True,
    "num_iterations": 15,
}


@pytest.mark.slow
def test_a_flipped_bit_sends_the_run_back_to_what_is_verified(tmp_path):
    """The node is named; after another attempt the run is the one without flip and verification."""
    net: Any = EVERYTHING["net"]
    notes: Any = {"net": {**net, "notes": str(tmp_path / "notes")}}
    clean = write_run(tmp_path, "clean", **{**CHANGES, **notes})
    assert Attempt(clean).end() == [0]
    (tmp_path / "flip").write_text((tmp_path / "notes.0").read_text().split()[BATCH_SIZE * BAD])
    (tmp_path / "flipping_net.py").write_text(FLIPPING_NET)
    changes = {
        **CHANGES,
        "net": {**net, "flip": str(tmp_path / "flip")},
        "trainer.verify_every": 4,
        "architecture.import_path": "flipping_net:Net",
    }
    run = write_run(tmp_path, "flipped", **changes)

    attempt = Attempt(run, 2)
    assert attempt.end() == [6, 6], attempt.logs()

    assert f"iteration {BAD} was computed twice" in attempt.logs()
    assert "the CPU of" in attempt.logs()
    assert "gradients/architecture." in attempt.logs()
    assert "verifying a step takes" in attempt.logs()
    checkpoint = CheckpointReader(run.checkpoints, fingerprint=None).newest()
    assert (checkpoint.iteration, checkpoint.manifest.verified_iteration) == (5, 4)
    assert Attempt(run, 1, number=1).end() == [0]
    restored = [each["iteration"] for each in json_lines(run.events) if each["event"] == "restored"]
    assert restored == [5]
    assert outcome(run) == outcome(clean)


def test_one_bit_is_a_difference():
    """Whatever the values: signs of zero and kinds of NaN too; names and sizes are told."""
    state: dict[str, Any] = {
        "weights": {"a": torch.ones(3), "b": torch.zeros(2)},
        "loss": 0.5,
    }
    other = copy.deepcopy(state)
    assert differences(state, other) == []

    other["weights"]["b"][1] = -0.0
    assert differences(state, other) == ["weights/b (by up to 0)"]
    other["weights"]["a"][0] = 1.25
    other["loss"] = 0.25
    assert differences(state, other) == [
        "weights/a (by up to 0.25)",
        "weights/b (by up to 0)",
        "loss or other numbers",
    ]


def test_nan_equals_itself():
    """A NaN with the same bits is no difference: the step is reproducible."""
    state = {"weights": torch.tensor([float("nan")])}

    assert differences(state, copy.deepcopy(state)) == []


def test_random_states_are_taken_as_they_are():
    """What is drawn after they are applied again is what was drawn before."""
    RandomState.of_iteration(3, 7).apply()
    state = RandomState.current()
    drawn = torch.rand(3)

    state.apply()

    assert torch.equal(torch.rand(3), drawn)

"""Runs that meet NaN: what is left out, and that the rest is as exact as ever."""

import itertools
import json
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from scripts.workloads.logs import json_lines
from scripts.workloads.outcome import rest_of_state
from scripts.workloads.ranks import Attempt
from scripts.workloads.small_runs import BATCH_SIZE, outcome, write_run
from trainers.checkpoints.checkpoint_reader import CheckpointReader
from trainers.training.guarded_step import refusal
from trainers.training.non_finite import (
    NonFinite,
    find_non_finite,
    num_left_out_before,
    record_left_out,
    suspicious_samples,
)

POISONED_NET = '''
import hashlib, os, signal
from pathlib import Path

import torch

import my_net

class Net(my_net.Net):
    """Sees NaN in place of some samples, and is told to stop at others, by their hashes."""

    def __init__(self, in_channels, poison, stops=None, **arguments):
        super().__init__(in_channels, **arguments)
        self.poison = Path(poison).read_text().split()
        self.stops = Path(stops).read_text().split() if stops else []

    def forward(self, raw):
        found = [hashlib.sha256(each.numpy().tobytes()).hexdigest() for each in raw]
        if set(found) & set(self.stops):
            os.kill(os.getpid(), signal.SIGTERM)
        factors = torch.tensor([float("nan") if each in self.poison else 1.0 for each in found])
        return super().forward(raw * factors.view(-1, 1, 1, 1, 1))
'''
COUNTED_NET = """
import weakref

import my_net

weights = []

class Net(my_net.Net):
    # Sees NaN once, and notes how many networks have weights whenever another one is built.

    num_calls = 0

    def __init__(self, in_channels, counts):
        super().__init__(in_channels)
        weights.append(weakref.ref(self[0].weight))
        with open(counts, "a") as file:
            file.write(f"{sum(each() is not None for each in weights)} ")

    def forward(self, raw):
        Net.num_calls += 1
        return super().forward(raw) * (float("nan") if Net.num_calls == 4 else 1.0)
"""
BAD = (7, 8, 13)
"""Iterations with a sample that is poisoned."""
STOPS = (3, 7, 10, 15)
"""Iterations in which a run that is to be stopped is so, if it gets there."""
EXACT: dict[str, Any] = {
    "trainer.exact_across_ranks": True,
    "trainer.ema_decay": 0.8,
    "num_iterations": 18,
}


@pytest.fixture(scope="module")
def poison(tmp_path_factory):
    """A folder with the network and a file that names one sample of each of the bad iterations."""
    parent = tmp_path_factory.mktemp("poison")
    notes = parent / "notes"
    clean = write_run(parent, "clean", EXACT, net={"notes": str(notes)})
    assert Attempt(clean).end() == [0]
    digests = (parent / "notes.0").read_text().split()
    for name, iterations, sample in (("poison", BAD, 3), ("stops", STOPS, 5)):
        named = [digests[BATCH_SIZE * each + sample] for each in iterations]
        (parent / name).write_text("\n".join(named))
    return parent


@pytest.fixture
def poisoned_run(poison, request):
    numbers = itertools.count()

    def write(policy, *, is_stopped=False):
        (poison / "poisoned_net.py").write_text(POISONED_NET)
        name = f"{request.node.name}-{next(numbers)}"
        net: dict[str, Any] = {"poison": str(poison / "poison"), "dropout": 0.2}
        if is_stopped:
            net["stops"] = str(poison / "stops")
        run = {
            **EXACT,
            "architecture.import_path": "poisoned_net:Net",
            "trainer.non_finite": policy,
        }
        return write_run(poison, name, run, net=net)

    return write


def to_the_end(run, *numbers_of_ranks):
    """Train; return how many attempts that took, which have so many ranks in turn."""
    number, codes = 0, [75]
    while set(codes) == {75}:
        size = numbers_of_ranks[number % len(numbers_of_ranks)]
        attempt = Attempt(run, size, number=number)
        codes = attempt.end()
        number += 1
    assert codes == [0] * size, attempt.logs()
    return number


def non_finite_events(run):
    return [each for each in json_lines(run.events) if each["event"] == "non_finite"]


def result(run):
    return outcome(run), rest_of_state(run)


@pytest.mark.slow
def test_a_run_stops_before_the_bad_step(poisoned_run):
    """It ends with a code of its own, names iteration, dataset and place, and keeps what it had."""
    run = poisoned_run("stop")

    attempt = Attempt(run, 2)

    assert attempt.end() == [7, 7], attempt.logs()
    (checkpoint,) = [CheckpointReader(run.checkpoints, fingerprint=None).newest()]
    assert checkpoint.iteration == BAD[0]
    assert checkpoint.manifest.is_finite
    (event,) = non_finite_events(run)
    assert (event["iteration"], event["action"]) == (BAD[0], "stop")
    assert "dataset 'fib25' at voxel (" in event["reason"]
    assert event["reason"].count("raw in") == 1
    reason = json.loads(run.state.read_text())["reason"]
    assert f"The last good checkpoint is of iteration {BAD[0]}" in reason


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["skip", "rewind"])
def test_what_is_left_out_is_so_wherever_a_run_was_stopped(poisoned_run, policy):
    """Weights, averages, statistics and losses are those of a run without a stop, on any ranks."""
    one, many = poisoned_run(policy), poisoned_run(policy, is_stopped=True)

    assert to_the_end(one, 1) == 1
    assert to_the_end(many, 2, 1) >= len(STOPS)

    assert result(many) == result(one)
    rows = {row["iteration"]: row for row in json_lines(one.metrics)}
    assert [each for each in rows if rows[each]["loss"] is None] == list(BAD)
    assert rows[BAD[-1]]["skipped_steps"] == len(BAD)
    assert "skipped_steps" not in rows[BAD[0] - 1]
    tensors = CheckpointReader(one.checkpoints, fingerprint=None).newest().state
    for tensor in (*tensors["model"].values(), *tensors["trainer"]["averaged_weights"].values()):
        assert torch.isfinite(tensor).all()


@pytest.mark.slow
def test_a_rewind_goes_back_to_the_last_good_checkpoint_or_to_the_start(poisoned_run):
    """Without one it starts again; both ways it is the run that leaves the step out at once."""
    skipping, early, late = poisoned_run("skip"), poisoned_run("rewind"), poisoned_run("rewind")
    late_config = late.config.read_text().replace("every_iterations: 5", "every_iterations: 100")
    late.config.write_text(late_config)

    for run in (skipping, early, late):
        to_the_end(run, 1)

    assert outcome(early) == outcome(late) == outcome(skipping)
    restored = [e["iteration"] for e in json_lines(early.events) if e["event"] == "restored"]
    assert restored == [5, 5, 10]
    assert [e["event"] for e in json_lines(late.events)].count("started") == 1 + len(BAD)


@pytest.mark.slow
def test_a_rewind_frees_the_network_before_it_builds_another(tmp_path):
    """A GPU may have no room for both, and for the states of two optimizers."""
    (tmp_path / "counted_net.py").write_text(COUNTED_NET)
    counts = tmp_path / "counts"
    network = {"architecture.import_path": "counted_net:Net", "trainer.non_finite": "rewind"}
    run = write_run(tmp_path, "run", network, net={"counts": str(counts)})

    attempt = Attempt(run)

    assert attempt.end() == [0], attempt.logs()
    assert counts.read_text() == "1 1 "


@pytest.mark.slow
def test_a_kill_between_rewind_and_checkpoint_forgets_nothing(poisoned_run):
    """The next attempt leaves out what the run folder names, without meeting it again."""
    whole, killed = poisoned_run("rewind"), poisoned_run("rewind")
    record_left_out(killed, BAD[:2])

    to_the_end(whole, 1)
    to_the_end(killed, 1)

    assert outcome(killed) == outcome(whole)
    rewinds = [e["iteration"] for e in non_finite_events(killed) if e["action"] == "rewind"]
    assert rewinds == [BAD[2]]


@pytest.mark.slow
def test_another_policy_continues_a_run_that_has_stopped(poisoned_run):
    """What was trained before the bad step counts for any policy."""
    skipping, stopped = poisoned_run("skip"), poisoned_run("stop")
    to_the_end(skipping, 1)
    assert Attempt(stopped).end() == [7]

    text = stopped.config.read_text().replace("non_finite: stop", "non_finite: skip")
    stopped.config.write_text(text)
    to_the_end(stopped, 1)

    assert outcome(stopped) == outcome(skipping)


def test_weights_come_before_the_loss_and_that_before_gradients():
    """What is named first has spoiled the others; large gradients are finite."""
    model = torch.nn.Linear(2, 1)
    model.weight.grad = torch.full((1, 2), 3e38)
    assert find_non_finite(model, 1.0, [1.0]) is None

    model.weight.grad[0, 1] = float("inf")
    assert find_non_finite(model, 1.0, [1.0]).part == "gradients"
    found = find_non_finite(model, float("nan"), [1.0, float("nan")])
    assert (found.part, found.micro_batches) == ("loss", (1,))
    with torch.no_grad():
        model.bias.fill_(float("nan"))
    assert find_non_finite(model, float("nan"), [float("nan")]).part == "weights"


@pytest.mark.parametrize(("left_out", "number"), [((), 0), ((5, 6), 2), ((3, 6), 1), ((5, 7), 0)])
def test_only_iterations_directly_before_are_in_a_row(left_out, number):
    """A gap, and what comes later, do not count."""
    assert num_left_out_before(7, left_out) == number


@pytest.mark.parametrize(
    ("part", "policy", "left_out", "expected"),
    [
        ("loss", "skip", (), None),
        ("gradients", "stop", (), (20, True, False)),
        ("loss", "rewind", (), (20, True, True)),
        ("weights", "skip", (), (19, False, False)),
        ("weights", "rewind", (), (19, False, True)),
        ("weights", "rewind", (18, 19), (17, False, True)),
        ("loss", "skip", range(10, 20), (20, True, False)),
        ("loss", "rewind", range(10, 20), (20, True, False)),
        ("loss", "skip", range(9, 19), None),
    ],
)
def test_what_becomes_of_a_bad_step(part, policy, left_out, expected):
    """Left out, gone back from, or the end: which iteration is to blame, and whether to save."""
    error = refusal(20, NonFinite(part, "bad"), policy, left_out)

    found = error and (error.iteration, error.is_state_finite, error.goes_back)
    assert found == expected


def test_weights_that_no_step_has_spoiled_end_the_run():
    """There is nothing to go back to."""
    error = refusal(2, NonFinite("weights", "bad"), "rewind", (0, 1))

    assert (error.goes_back, error.is_state_finite) == (False, False)


def make_sample(number, raw):
    return SimpleNamespace(
        raw=np.asarray(raw, np.float32),
        target=np.zeros(1, np.float32),
        dataset=f"d{number}",
        begin=(number,),
        begin_nm=(8.0 * number,),
    )


def test_the_samples_to_look_at_come_first():
    """Those that are not finite themselves, else those of a bad micro-batch, else all."""
    samples = [make_sample(number, [0.25, 0.5]) for number in range(4)]
    found = NonFinite("loss", "the loss is nan", micro_batches=(1,))

    assert len(suspicious_samples(NonFinite("gradients", ""), samples, 2)) == 4
    last_two = suspicious_samples(found, samples, 2)
    assert last_two[0] == "dataset 'd2' at voxel (2), (16) nm, raw in 0.25..0.5"
    assert len(last_two) == 2
    assert suspicious_samples(NonFinite("loss", ""), samples, 2) == []
    samples[0] = make_sample(0, [1.0, float("nan")])
    assert suspicious_samples(found, samples, 2) == [
        "dataset 'd0' at voxel (0), (0) nm, raw in nan..nan"
    ]

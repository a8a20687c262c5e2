"""A run that begins with the weights of another one."""

import errno
import json
import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import attrs
import pytest
import torch

from scripts.workloads.logs import json_lines
from scripts.workloads.small_runs import write_run
from trainers.checkpoints import CheckpointReader, CheckpointStore
from trainers.distributed.process_group import ALONE, ProcessGroup
from trainers.distributed.rank_info import RankInfo
from trainers.errors import CheckpointError, ConfigError, StorageUnavailableError
from trainers.run.run_folder import RunFolder
from trainers.weights.init_from import load_initial_weights
from trainers.weights.weights_report import WeightsReport
from trainers.weights.weights_source import WeightsSource, find_weights


def make_network(num_outputs, *, norm=True, value=None):
    """A body of one layer, perhaps a norm, and a head."""
    layers: dict[str, torch.nn.Module] = {
        "body": torch.nn.Linear(3, 4),
        "head": torch.nn.Linear(4, num_outputs),
    }
    if norm:
        layers["norm"] = torch.nn.BatchNorm1d(4)
    network = torch.nn.ModuleDict(layers)
    if value is not None:
        for parameter in network.parameters():
            torch.nn.init.constant_(parameter, value)
    return network


def save(run, iteration, network, **trainer):
    """As a run saves what it is made of."""
    store = CheckpointStore(run.checkpoints, fingerprint="another")
    state = {"trainer": {"iteration": iteration, **trainer}, "model": network.state_dict()}
    return store.save(iteration, state)


@pytest.fixture
def run(tmp_path):
    """A run with checkpoints of 10 and 20 iterations; all weights are the iteration."""
    run = RunFolder(tmp_path / "source")
    run.path.mkdir()
    for iteration in (10, 20):
        save(run, iteration, make_network(2, value=float(iteration)))
    return run


def values(network):
    """The one value that each parameter is full of; None for those that have several."""
    return {
        name: each.flatten()[0].item() if (each == each.flatten()[0]).all() else None
        for name, each in network.named_parameters()
    }


def test_all_weights_of_the_newest_checkpoint(run):
    """Nothing is left over on either side."""
    network = make_network(2)

    found = load_initial_weights(network, run.path, ALONE)

    assert set(values(network).values()) == {20.0}
    assert found == WeightsReport(
        path=str(run.checkpoints / "iteration-000000020"),
        iteration=20,
        averaged=False,
        num_matched=9,
        num_tensors=9,
        missing=(),
        mismatched=(),
        unexpected=(),
    )
    assert found.text == f"9 of 9 tensors initialized from the weights of {found.path}"


def test_one_checkpoint_of_a_run(run):
    """By its folder."""
    network = make_network(2)

    found = load_initial_weights(network, run.checkpoints / "iteration-000000010", ALONE)

    assert found.iteration == 10
    assert set(values(network).values()) == {10.0}


def test_what_the_network_holds_is_its_own(run):
    """The checkpoint stays as it is, and goes without harm, while the network is trained."""
    network = make_network(2)
    load_initial_weights(network, run.path, ALONE)

    with torch.no_grad():
        network["body"].weight.fill_(5.0)

    checkpoint = CheckpointReader(run.checkpoints, fingerprint=None).load(20)
    assert (checkpoint.state["model"]["body.weight"] == 20.0).all()


def test_weights_may_match_in_part(run):
    """Those of the same name and shape are taken; all others are named, with their shapes."""
    torch.manual_seed(1)
    network = make_network(3, norm=False)
    network["extra"] = torch.nn.Linear(4, 1, bias=False)
    before = {name: each.clone() for name, each in network.state_dict().items()}

    found = load_initial_weights(network, run.path, ALONE)

    assert values(network)["body.weight"] == values(network)["body.bias"] == 20.0
    for name in ("head.weight", "head.bias", "extra.weight"):
        assert network.state_dict()[name].equal(before[name])
    assert (found.num_matched, found.num_tensors) == (2, 5)
    assert found.missing == ("extra.weight [1, 4]",)
    assert found.mismatched == ("head.weight [3, 4], there [2, 4]", "head.bias [3], there [2]")
    assert found.unexpected == (
        "norm.weight [4]",
        "norm.bias [4]",
        "norm.running_mean [4]",
        "norm.running_var [4]",
        "norm.num_batches_tracked []",
    )
    assert found.text.splitlines() == [
        f"2 of 5 tensors initialized from the weights of {found.path}",
        "newly initialized, not in the checkpoint: extra.weight [1, 4]",
        "newly initialized, of another shape there: "
        "head.weight [3, 4], there [2, 4], head.bias [3], there [2]",
        "ignored, only in the checkpoint: norm.weight [4], norm.bias [4], norm.running_mean [4], "
        "norm.running_var [4], norm.num_batches_tracked []",
    ]


def test_averages_come_before_the_last_weights(run):
    """A run that keeps them has them for this."""
    averages = make_network(2, value=7.5).state_dict()
    save(run, 30, make_network(2, value=30.0), averaged_weights=averages)
    network = make_network(2)

    found = load_initial_weights(network, run.path, ALONE)

    assert set(values(network).values()) == {7.5}
    assert (found.averaged, found.iteration) == (True, 30)
    assert found.text.startswith("9 of 9 tensors initialized from the averaged weights of ")


def test_many_names_are_cut_short_in_the_text(run):
    """The report has them all."""
    network = torch.nn.ModuleDict({"body": torch.nn.Linear(3, 4)})
    network.update({f"layer{index}": torch.nn.Linear(1, 1) for index in range(8)})

    found = load_initial_weights(network, run.path, ALONE)

    assert len(found.missing) == 16
    assert ", layer4.bias [1] and 6 more\n" in found.text


def test_an_event_says_the_same(run):
    """JSON and back."""
    found = load_initial_weights(make_network(3), run.path, ALONE)
    event = {"time": 1.0, "event": "initialized", **json.loads(json.dumps(attrs.asdict(found)))}

    assert WeightsReport.from_event(event) == found


def test_nothing_that_fits_is_refused(run):
    """With what there is on both sides; the network is left as it was."""
    network = torch.nn.Conv3d(1, 2, 3)
    before = network.weight.clone()

    with pytest.raises(ConfigError) as caught:
        load_initial_weights(network, run.path, ALONE)

    assert str(caught.value) == (
        f"init_from: nothing in {run.checkpoints}/iteration-000000020 fits the network of this "
        "run. There: body.weight [4, 3], body.bias [4], head.weight [2, 4], head.bias [2], "
        "norm.weight [4], norm.bias [4], norm.running_mean [4], norm.running_var [4], "
        "norm.num_batches_tracked []. Here: weight [2, 1, 3, 3, 3], bias [2]. Some must have the "
        "same name and shape: take a run of a similar architecture, or leave init_from out."
    )
    assert network.weight.equal(before)


def flip_last_byte(checkpoint):
    path = checkpoint / "rank-00000.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def test_a_damaged_checkpoint(run, caplog):
    """Of a run, the one before is taken; nothing of that run is changed."""
    newest = run.checkpoints / "iteration-000000020"
    flip_last_byte(newest)

    with caplog.at_level(logging.WARNING):
        assert load_initial_weights(make_network(2), run.path, ALONE).iteration == 10
    assert "iteration-000000020 is damaged" in caplog.text
    with pytest.raises(CheckpointError, match=r"is damaged: rank-00000\.safetensors has changed"):
        load_initial_weights(make_network(2), newest, ALONE)
    assert newest.is_dir()


def test_a_run_begins_with_the_same_weights_at_each_start(run, tmp_path):
    """The first start settles which; a newer checkpoint changes nothing, and its loss is told."""
    starting = RunFolder(tmp_path)
    load_initial_weights(make_network(2), run.path, ALONE, starting)
    save(run, 30, make_network(2, value=30.0))

    assert load_initial_weights(make_network(2), run.path, ALONE, starting).iteration == 20
    assert load_initial_weights(make_network(2), run.path, ALONE).iteration == 30
    shutil.rmtree(run.checkpoints / "iteration-000000020")
    with pytest.raises(CheckpointError, match=r"began with the weights of .*-000000020, which"):
        load_initial_weights(make_network(2), run.path, ALONE, starting)


@pytest.mark.parametrize("is_taken", [False, True])
def test_a_file_system_that_is_away_is_waited_for(run, tmp_path, monkeypatch, is_taken):
    """It may be back for the next attempt, if not for this one."""
    monkeypatch.setattr("trainers.weights.init_from.TIMEOUT_S", 0.3)
    starting = RunFolder(tmp_path / "starting")
    starting.path.mkdir()
    if is_taken:
        load_initial_weights(make_network(2), run.path, ALONE, starting)
    opened = os.open

    def fail(path, *arguments, **options):
        if Path(path).name == "iteration-000000020":
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return opened(path, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", fail)
        with pytest.raises(StorageUnavailableError, match="Input/output error"):
            load_initial_weights(make_network(2), run.path, ALONE, starting)
    moved = run.path.parent.rename(tmp_path.with_name("moved"))
    with pytest.raises(StorageUnavailableError, match="cannot be found, nor its folder"):
        load_initial_weights(make_network(2), run.path, ALONE, None)
    moved.rename(tmp_path)
    found = load_initial_weights(make_network(2), run.path, ALONE, starting)
    assert found.iteration == 20


def test_a_run_without_a_whole_checkpoint(run):
    """It is said what to do."""
    for each in run.checkpoints.iterdir():
        flip_last_byte(each)

    with pytest.raises(CheckpointError, match="has no whole checkpoint; train that run up to"):
        load_initial_weights(make_network(2), run.path, ALONE)


def test_another_schema_version(run):
    """It cannot be read, and is not taken for damaged."""
    from trainers.checkpoints.manifest import with_checksum

    path = run.checkpoints / "iteration-000000020" / "manifest.json"
    content = json.loads(path.read_bytes())
    del content["xxh3_128"]
    path.write_bytes(with_checksum({**content, "schema_version": 1}))

    with pytest.raises(CheckpointError, match="has schema version 1; this version of trainers"):
        load_initial_weights(make_network(2), run.path, ALONE)


def test_a_checkpoint_of_something_else(tmp_path):
    """What holds no network is of no use."""
    CheckpointStore(tmp_path / "checkpoints", fingerprint="x").save(1, {"weight": torch.zeros(1)})

    with pytest.raises(CheckpointError, match="holds no network; take a checkpoint of a run"):
        load_initial_weights(make_network(2), tmp_path, ALONE)


class SecondRank(ProcessGroup):
    """Of two; the first of them has chosen already."""

    def __init__(self, choice):
        super().__init__(RankInfo(rank=1, world_size=2, local_rank=1, local_size=2))
        self._choice = choice

    def broadcast_from_rank0(self, value):
        return self._choice


def test_all_ranks_take_the_same(run):
    """Also if there is a newer one by then."""
    found = load_initial_weights(make_network(2), run.path, SecondRank(10))

    assert found.iteration == 10


def test_where_weights_can_be(run):
    """A run, or a checkpoint."""
    newest = run.checkpoints / "iteration-000000020"

    assert find_weights(run.path) == WeightsSource(run.checkpoints, None)
    assert find_weights(newest) == WeightsSource(run.checkpoints, 20)


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("none", "which does not exist"),
        ("file", "which is not a directory"),
        ("empty", "which holds neither"),
        ("source/checkpoints", "which holds checkpoints; give one of them, such as "),
        ("experiment", "an experiment; give one of its runs, in "),
        ("iteration-000000007", "which has no manifest.json and so is no whole checkpoint"),
        ("damaged-iteration-000000007-0", "which is damaged and was set aside"),
    ],
)
def test_where_weights_cannot_be(run, tmp_path, name, what):
    """What was found, what it is, and what is allowed."""
    (tmp_path / "file").touch()
    for folder in ("empty", "iteration-000000007", "damaged-iteration-000000007-0"):
        (tmp_path / folder).mkdir()
    run_of_experiment = tmp_path / "experiment" / "runs" / "a"
    run_of_experiment.mkdir(parents=True)
    (run_of_experiment / "config.yaml").touch()

    with pytest.raises(ConfigError) as caught:
        find_weights(tmp_path / name)

    message = str(caught.value)
    assert message.startswith(f"init_from: found {tmp_path / name}, {what}")
    assert "; must be the folder of a run, for its newest whole checkpoint, or that of " in message


def train(folder):
    """The events of a run that has been trained to its end."""
    with folder.log(0).open("wb") as log:
        subprocess.run(
            [sys.executable, "-m", "trainers", folder.path],
            stdout=log,
            stderr=log,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            check=True,
        )
    return json_lines(folder.events)


def newest_weights(folder):
    return CheckpointReader(folder.checkpoints, fingerprint=None).newest().state["model"]


@pytest.mark.slow
def test_a_run_begins_with_the_averaged_weights_of_another(tmp_path):
    """At its start alone, and not when it goes on; the log and the events tell."""
    source = write_run(tmp_path, "source", {"trainer.ema_decay": 0.5})
    train(source)
    averages = CheckpointReader(source.checkpoints, fingerprint=None).newest().state["trainer"]
    changes: dict[str, Any] = {
        "init_from": str(source.path),
        "seed": 5,
        "trainer.learning_rate": 1e-30,
    }
    changes |= {"task.neighborhood": [[1, 0, 0], [0, 1, 0], [0, 0, 1]]}
    folder = write_run(tmp_path, "fine", changes, num_iterations=1)

    (told,) = [each for each in train(folder) if each["event"] == "initialized"]
    assert (told["iteration"], told["averaged"]) == (4, True)
    assert told["num_matched"] == told["num_tensors"] == len(newest_weights(folder))
    for name, value in newest_weights(folder).items():
        torch.testing.assert_close(value, averages["averaged_weights"][name])
    assert "tensors initialized from the averaged weights of" in folder.log(0).read_text()

    text = folder.config.read_text().replace("num_iterations: 1\n", "num_iterations: 2\n")
    folder.config.write_text(text)
    kinds = [each["event"] for each in train(folder)]
    assert kinds.count("initialized") == 1
    assert "restored" in kinds

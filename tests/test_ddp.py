"""`python -m trainers RUN_FOLDER` with several ranks, each a process of its own."""

import hashlib
import json
import random
import signal
import time
from pathlib import Path

import pytest

from launcher.experiment.experiment import read_experiment
from tests.ranks import start_rank
from trainers.config_io import write_run_config
from trainers.run_folder import RunFolder
from trainers.run_state import read_state

EXAMPLE = Path(__file__).parents[1] / "examples" / "fib25.yaml"
NUM_RANKS = 4
RANKS_PER_NODE = 2
BATCH_SIZE = 8
NET = """
import hashlib, os
import torch
from torch import nn

class Net(nn.Sequential):
    '''Notes the samples that it is given, one line each, in a file per rank.'''

    def __init__(self, in_channels, notes=None, dropout=0.0):
        layers = [nn.Conv3d(in_channels, 4, 3, padding=1), nn.ReLU(), nn.Conv3d(4, 3, 1)]
        if dropout:
            layers[1:1] = [nn.BatchNorm3d(4), nn.Dropout(dropout)]
        super().__init__(*layers)
        self.notes = notes

    def forward(self, raw):
        if self.training and self.notes:
            lines = [hashlib.sha256(each.numpy().tobytes()).hexdigest() for each in raw]
            with open(f"{self.notes}.{os.environ.get('RANK', 0)}", "a") as file:
                file.writelines(line + "\\n" for line in lines)
        return super().forward(raw)
"""


@pytest.fixture
def make_run(tmp_path):
    """Write a run folder for the bundled sample and a small network; `net` is its arguments."""
    (tmp_path / "my_net.py").write_text(NET)

    def make(name, *, net=None, **changes) -> RunFolder:
        overrides = {
            "num_iterations": 4,
            "architecture": {
                "kind": "custom",
                "import_path": "my_net:Net",
                "arguments": net or {},
                "input_shape": [16, 16, 16],
            },
            "trainer.batch_size": BATCH_SIZE,
            "trainer.num_data_fetchers": 0,
            "trainer.augments": [{"kind": "simple"}],
            "trainer.snapshot_interval": None,
            "checkpoint.every_iterations": 5,
            "metrics.every_iterations": 1,
            "wandb.mode": "disabled",
            "resources.cpus": 1,
            "python_path": [str(tmp_path)],
            "sweep": None,
            **changes,
        }
        texts = [f"{key}={json.dumps(value)}" for key, value in overrides.items()]
        (config,) = read_experiment(EXAMPLE, texts).runs
        folder = RunFolder(tmp_path / name)
        folder.logs.mkdir(parents=True)
        write_run_config(folder.config, config)
        return folder

    return make


class Attempt:
    """The ranks of one attempt at a run."""

    def __init__(self, folder, *, size=NUM_RANKS, local_size=RANKS_PER_NODE, number=0):
        self._folder = folder
        self._number = number
        arguments = ["-m", "trainers", str(folder.path), f"--attempt={number}", "--owner=test"]
        self.ranks = []
        for rank in range(size):
            with folder.log(number, rank).open("wb") as log:
                self.ranks.append(start_rank(arguments, rank, size, local_size, log))

    def wait_for_iteration(self, iteration: int) -> None:
        while read_state(self._folder).iteration < iteration:
            assert all(rank.poll() is None for rank in self.ranks), self.logs()
            time.sleep(0.05)

    def end(self) -> list[int]:
        """Exit statuses; a rank that hangs fails the test."""
        try:
            return [rank.wait(timeout=180) for rank in self.ranks]
        finally:
            self.kill()

    def kill(self) -> None:
        for rank in self.ranks:
            rank.kill()
            rank.wait()

    def logs(self) -> str:
        return "\n".join(
            self._folder.log(self._number, rank).read_text() for rank in range(len(self.ranks))
        )


def rows(folder: RunFolder) -> list[dict]:
    return [json.loads(line) for line in folder.metrics.read_text().splitlines()]


def losses(folder: RunFolder) -> list[float]:
    return [row["loss"] for row in rows(folder)]


def outcome(folder: RunFolder) -> tuple[list[tuple[int, float]], str]:
    """Loss of every iteration, and hash of all tensors of the last checkpoint."""
    newest = max(folder.checkpoints.glob("iteration-*"))
    (tensors,) = newest.glob("*.safetensors")
    digest = hashlib.sha256(tensors.read_bytes()).hexdigest()
    return [(row["iteration"], row["loss"]) for row in rows(folder)], digest


def samples(notes: Path) -> list[list[str]]:
    """Hashes of the samples of each iteration, those of the first rank first."""
    files = sorted(notes.parent.glob(f"{notes.name}.*"))
    lines = [file.read_text().split() for file in files]
    share = BATCH_SIZE // len(files)
    return [
        [line for each in lines for line in each[start : start + share]]
        for start in range(0, len(lines[0]), share)
    ]


@pytest.mark.slow
def test_four_ranks_train_as_one(make_run, tmp_path):
    """Two nodes of two ranks see the samples of a single rank, and learn the same from them."""
    sgd = {"kind": "sgd", "schedule": {"kind": "constant"}}
    changes = {"trainer.optimizer": sgd, "trainer.learning_rate": 1.0}
    one = make_run("one", net={"notes": str(tmp_path / "one-saw")}, **changes)
    four = make_run("four", net={"notes": str(tmp_path / "four-saw")}, **changes)

    assert Attempt(one, size=1, local_size=1).end() == [0]
    attempt = Attempt(four)
    assert attempt.end() == [0] * NUM_RANKS, attempt.logs()

    assert samples(tmp_path / "four-saw") == samples(tmp_path / "one-saw")
    assert len(samples(tmp_path / "one-saw")) == 4
    assert losses(four) == pytest.approx(losses(one), rel=1e-5)
    assert losses(one)[-1] != pytest.approx(losses(one)[0], rel=1e-3)


@pytest.mark.slow
def test_stopped_and_killed_ranks_end_as_if_they_had_never_been(make_run):
    """A signal to one rank stops all at one iteration; SIGKILL of all costs nothing but time."""
    changes = {"num_iterations": 30, "net": {"dropout": 0.2}}
    whole, broken = make_run("whole", **changes), make_run("broken", **changes)
    assert Attempt(whole).end() == [0] * NUM_RANKS

    first = Attempt(broken)
    first.wait_for_iteration(2)
    first.ranks[2].send_signal(signal.SIGTERM)
    assert first.end() == [75] * NUM_RANKS, first.logs()
    done = len(rows(broken))
    assert read_state(broken).saved_iteration == done
    assert (broken.checkpoints / f"iteration-{done:09d}").is_dir()

    second = Attempt(broken, number=1)
    second.wait_for_iteration(done + 1)
    time.sleep(random.random())
    second.kill()

    third = Attempt(broken, number=2)
    assert third.end() == [0] * NUM_RANKS, third.logs()
    assert outcome(broken) == outcome(whole)


@pytest.mark.slow
def test_the_others_end_when_a_rank_is_lost(make_run):
    """They do not wait for it for ever, and the run's state tells what happened."""
    folder = make_run("run", num_iterations=100_000)
    attempt = Attempt(folder)
    attempt.wait_for_iteration(2)

    attempt.ranks[1].kill()

    assert attempt.end() == [1, -signal.SIGKILL, 1, 1]
    state = read_state(folder)
    assert state.status == "failed"
    assert "by peer" in state.reason


@pytest.mark.slow
def test_another_number_of_ranks_goes_on_and_says_so(make_run):
    """A checkpoint is of the run and not of its ranks; the log tells that rounding differs."""
    folder = make_run("run", num_iterations=2)
    assert Attempt(folder, size=2).end() == [0, 0]
    folder.config.write_text(
        folder.config.read_text().replace("num_iterations: 2", "num_iterations: 4")
    )

    attempt = Attempt(folder, size=1, local_size=1, number=1)

    assert attempt.end() == [0]
    assert [row["iteration"] for row in rows(folder)] == [0, 1, 2, 3]
    assert "iteration 2 was made by 2 ranks, and now there are 1" in attempt.logs()


@pytest.mark.slow
def test_a_batch_that_ranks_cannot_share_is_refused(make_run):
    """By every rank, before anything is trained."""
    attempt = Attempt(make_run("run", **{"trainer.batch_size": 3}), size=2)

    assert attempt.end() == [2, 2]
    assert "batch_size is 3, which the 2 ranks" in attempt.logs()

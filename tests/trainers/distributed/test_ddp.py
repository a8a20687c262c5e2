"""`python -m trainers RUN_FOLDER` with several ranks, each a process of its own."""

import random
import signal
import time
from functools import partial
from pathlib import Path

import pytest

from scripts.workloads.logs import json_lines
from scripts.workloads.ranks import Attempt
from scripts.workloads.small_runs import BATCH_SIZE, EVERYTHING, losses, outcome, write_run
from trainers import exit_codes
from trainers.run.run_state import read_state

NUM_RANKS = 4
RANKS_PER_NODE = 2


@pytest.fixture
def make_run(tmp_path):
    """Write a run folder for the bundled sample and a small network."""
    return partial(write_run, tmp_path)


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

    assert Attempt(one).end() == [0]
    attempt = Attempt(four, NUM_RANKS, RANKS_PER_NODE)
    assert attempt.end() == [0] * NUM_RANKS, attempt.logs()

    assert samples(tmp_path / "four-saw") == samples(tmp_path / "one-saw")
    assert len(samples(tmp_path / "one-saw")) == 4
    assert losses(four) == pytest.approx(losses(one), rel=1e-5)
    assert losses(one)[-1] != pytest.approx(losses(one)[0], rel=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [{"net": {"dropout": 0.2}}, {**EVERYTHING, "trainer.micro_batch_size": 1}],
    ids=["plain", "everything"],
)
def test_stopped_and_killed_ranks_end_as_if_they_had_never_been(make_run, changes):
    """A signal to one rank stops all at one iteration; SIGKILL of all costs nothing but time."""
    changes = {"num_iterations": 30, **changes}
    whole, broken = make_run("whole", **changes), make_run("broken", **changes)
    assert Attempt(whole, NUM_RANKS, RANKS_PER_NODE).end() == [0] * NUM_RANKS

    first = Attempt(broken, NUM_RANKS, RANKS_PER_NODE)
    first.wait_for_iteration(2)
    first.ranks[2].send_signal(signal.SIGTERM)
    assert first.end() == [75] * NUM_RANKS, first.logs()
    done = len(json_lines(broken.metrics))
    assert read_state(broken).saved_iteration == done
    assert (broken.checkpoints / f"iteration-{done:09d}").is_dir()

    second = Attempt(broken, NUM_RANKS, RANKS_PER_NODE, number=1)
    second.wait_for_iteration(done + 1)
    time.sleep(random.random())
    second.kill()

    third = Attempt(broken, NUM_RANKS, RANKS_PER_NODE, number=2)
    assert third.end() == [0] * NUM_RANKS, third.logs()
    assert outcome(broken) == outcome(whole)


@pytest.mark.slow
def test_the_others_end_when_a_rank_is_lost(make_run):
    """They do not wait for it for ever, and the run's state tells what happened."""
    folder = make_run("run", num_iterations=100_000)
    attempt = Attempt(folder, NUM_RANKS, RANKS_PER_NODE)
    attempt.wait_for_iteration(2)

    attempt.ranks[1].kill()

    lost = exit_codes.RANK_LOST
    assert attempt.end() == [lost, -signal.SIGKILL, lost, lost]
    state = read_state(folder)
    assert state.status == "failed"
    assert "by peer" in state.reason


@pytest.mark.slow
def test_another_number_of_ranks_goes_on_and_says_so(make_run):
    """A checkpoint is of the run and not of its ranks; the log tells that rounding differs."""
    folder = make_run("run", num_iterations=2)
    assert Attempt(folder, 2).end() == [0, 0]
    folder.config.write_text(
        folder.config.read_text().replace("num_iterations: 2", "num_iterations: 4")
    )

    attempt = Attempt(folder, 1, number=1)

    assert attempt.end() == [0]
    assert [row["iteration"] for row in json_lines(folder.metrics)] == [0, 1, 2, 3]
    assert "the number of ranks is 1, and was 2 when its checkpoint was written" in attempt.logs()


@pytest.mark.slow
def test_a_batch_that_ranks_cannot_share_is_refused(make_run):
    """By every rank, before anything is trained."""
    attempt = Attempt(make_run("run", **{"trainer.batch_size": 3}), 2)

    assert attempt.end() == [2, 2]
    assert "batch_size is 3, which the 2 ranks" in attempt.logs()

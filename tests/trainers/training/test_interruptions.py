"""Attempts whose data go away: nothing that was trained is lost, and the exit code says why."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from scripts.workloads.checkout import ROOT, SAMPLE
from scripts.workloads.outcome import tensors
from scripts.workloads.processes import children
from scripts.workloads.ranks import Attempt
from scripts.workloads.small_runs import losses, write_run
from trainers.run.run_folder import RunFolder

pytestmark = pytest.mark.slow
IN_PROCESS = {"kind": "custom", "import_path": "custom_augments:InProcessConfig"}
"""Has samples made in processes of their own."""


def start_of(parent: Path, name: str, timeout_s: float, **changes: Any) -> RunFolder:
    """A run whose volume lies in `parent`, and is read again in every iteration."""
    data = parent / "data"
    if not data.exists():
        shutil.copytree(SAMPLE, data)
    arrays = {"raw": "raw/s0", "gt": "labels/s0", "mask": "mask/s0"}
    dataset = {key: {"path": str(data), "array": array} for key, array in arrays.items()}
    return write_run(
        parent,
        name,
        {
            "datasets": [{"name": "fib25", **dataset}],
            "trainer.reading": {"timeout_s": timeout_s, "cache_gb": 0},
            **changes,
        },
    )


def newest_checkpoint(folder: RunFolder) -> int:
    return int(max(folder.checkpoints.glob("iteration-*")).name.removeprefix("iteration-"))


def wait_for_words(folder: RunFolder, attempt: Attempt, words: str) -> None:
    while words not in attempt.logs():
        assert all(rank.poll() is None for rank in attempt.ranks), attempt.logs()


@pytest.mark.parametrize("num_ranks", [1, 2])
def test_a_stop_while_data_are_away_loses_no_iteration(tmp_path: Path, num_ranks: int) -> None:
    """It ends the wait, which would last for minutes; the last iteration is saved."""
    folder = start_of(tmp_path, "run", 600, num_iterations=100_000)
    attempt = Attempt(folder, num_ranks)
    attempt.wait_for_iteration(3)
    (tmp_path / "data").rename(tmp_path / "away")
    wait_for_words(folder, attempt, "cannot be read; waiting for it")

    for rank in attempt.ranks:
        rank.send_signal(signal.SIGTERM)

    assert attempt.end() == [75] * num_ranks
    assert newest_checkpoint(folder) == len(losses(folder))


@pytest.mark.parametrize("num_ranks", [1, 2])
def test_data_that_stay_away_cost_no_iteration(tmp_path: Path, num_ranks: int) -> None:
    """Exit code 5; when they are back, the run ends as one that nothing has happened to.

    The other rank stops, or loses the first one while it does.
    """
    undisturbed = start_of(tmp_path, "undisturbed", 600, num_iterations=60)
    assert Attempt(undisturbed, num_ranks).end() == [0] * num_ranks
    folder = start_of(tmp_path, "run", 1, num_iterations=60)
    attempt = Attempt(folder, num_ranks)
    attempt.wait_for_iteration(3)
    (tmp_path / "data").rename(tmp_path / "away")

    statuses = attempt.end()

    assert 5 in statuses and set(statuses) <= {5, 9, 75}, attempt.logs()
    assert 3 <= newest_checkpoint(folder) == len(losses(folder)) < 60
    (tmp_path / "away").rename(tmp_path / "data")
    assert Attempt(folder, num_ranks, number=1).end() == [0] * num_ranks
    assert losses(folder) == losses(undisturbed)
    assert tensors(folder) == tensors(undisturbed)


@pytest.mark.parametrize("num_data_fetchers", [0, 2])
def test_data_that_come_back_in_time_change_nothing(tmp_path: Path, num_data_fetchers: int) -> None:
    """The run waits, and ends as one that nothing has happened to."""
    changes = {"trainer.num_data_fetchers": num_data_fetchers, "num_iterations": 40}
    undisturbed = start_of(tmp_path, "undisturbed", 600, **changes)
    assert Attempt(undisturbed).end() == [0]
    folder = start_of(tmp_path, "run", 600, **changes)
    attempt = Attempt(folder)
    attempt.wait_for_iteration(3)
    (tmp_path / "data").rename(tmp_path / "away")
    wait_for_words(folder, attempt, "cannot be read; waiting for it")
    (tmp_path / "away").rename(tmp_path / "data")

    assert attempt.end() == [0]
    assert "can be read again, after" in attempt.logs()
    assert losses(folder) == losses(undisturbed)
    assert tensors(folder) == tensors(undisturbed)


def test_a_run_that_starts_without_its_data_waits_for_them(tmp_path: Path) -> None:
    """Case: a mount that comes a little later than the job."""
    folder = start_of(tmp_path, "run", 600, num_iterations=3)
    (tmp_path / "data").rename(tmp_path / "away")
    attempt = Attempt(folder)
    wait_for_words(folder, attempt, "cannot be read; waiting for it")
    (tmp_path / "away").rename(tmp_path / "data")

    assert attempt.end() == [0]


def test_a_worker_that_is_killed_costs_no_iteration(
    tmp_path: Path,
) -> None:
    """By the kernel, for want of memory: the run has failed, and its state is saved."""
    folder = start_of(
        tmp_path,
        "run",
        600,
        **{
            "num_iterations": 100_000,
            "trainer.num_data_fetchers": 1,
            "trainer.augments": [IN_PROCESS],
            "python_path": [str(tmp_path), str(ROOT / "tests/trainers/stream")],
        },
    )
    attempt = Attempt(folder)
    attempt.wait_for_iteration(3)
    (worker,) = children(attempt.ranks[0].pid)

    os.kill(worker, signal.SIGKILL)

    assert attempt.end() == [1]
    assert newest_checkpoint(folder) == len(losses(folder))

"""Many runs at once: as few submissions as the limits allow, and every run is finished."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from launcher.monitor.find_run import find_runs
from scripts.slurm_sandbox.sandbox import Sandbox
from tests.slurm.workplace import Workplace
from trainers.run.run_state import read_state

pytestmark = pytest.mark.slurm

NUM_RUNS = 100
BUSY = ("--partition=priority", "--exclusive", "--nodes=1")
QUICK = ("num_iterations=3", "architecture.arguments.seconds=0.01", "resources.cpus=1")


@pytest.fixture
def workplace(sandbox: Sandbox, tmp_path: Path) -> Workplace:
    return Workplace(tmp_path)


def sweep(num_runs: int) -> str:
    return f"sweep={json.dumps({'seed': list(range(num_runs))})}"


def jobs_of(report: dict[str, Any]) -> list[str]:
    return [pack["job"] for pack in report["packs"]]


@pytest.mark.parametrize(
    ("max_array_size", "gpus", "num_jobs", "num_calls"),
    [(1001, "1", 25, 1), (2, "1", 25, 13), (2, "0.25", 7, 4), (8, "1", 25, 4)],
)
def test_as_few_submissions_as_possible(
    sandbox: Sandbox,
    workplace: Workplace,
    max_array_size: int,
    gpus: str,
    num_jobs: int,
    num_calls: int,
) -> None:
    """Alike jobs go into arrays as large as Slurm takes them, and each run into one of the jobs."""
    sandbox.configure(max_array_size=max_array_size)
    for _ in range(4):
        sandbox.submit("sleep 600", *BUSY)  # so that nothing starts

    report = workplace.submit(sweep(NUM_RUNS), f"resources.gpus={gpus}", *QUICK)

    assert report["submission_calls"] == num_calls
    jobs = jobs_of(report)
    assert len(set(jobs)) == len(jobs) == num_jobs
    assert len({job.partition("_")[0] for job in jobs}) == num_calls
    runs = [run for pack in report["packs"] for run in pack["runs"]]
    assert sorted(runs) == sorted(f"seed-{seed}" for seed in range(NUM_RUNS))
    queued = sandbox.run("squeue", "--noheader", "--array", "--format=%i", "-p", "preemptible")
    assert set(queued.split()) == set(jobs)


def test_every_run_of_a_sweep_is_finished(sandbox: Sandbox, workplace: Workplace) -> None:
    """Four to a GPU, in a job with a whole node and one with half of a node."""
    sandbox.configure(max_array_size=2)

    report = workplace.submit(sweep(24), "resources.gpus=0.25", *QUICK)

    assert [len(pack["runs"]) for pack in report["packs"]] == [16, 8]
    assert report["submission_calls"] == 2
    runs = find_runs(workplace.experiment.path)
    assert len(runs) == 24
    sandbox.wait_for(
        lambda: all(read_state(run).attempts == {"finished": 1} for run in runs), timeout=300
    )
    assert {(read_state(run).status, read_state(run).iteration) for run in runs} == {
        ("finished", 3)
    }

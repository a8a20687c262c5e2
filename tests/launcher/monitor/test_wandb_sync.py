"""`launch sync`, with W&B's real client and a server on this machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from launcher.experiment.experiment_folder import ExperimentFolder
from launcher.monitor import wandb_sync
from launcher.monitor.wandb_sync import SyncResult, sync_runs
from scripts.workloads.offline_runs import write_offline_run, write_offline_runs
from tests.fakes.wandb_server import WandbServer
from trainers.run.lease import Lease
from trainers.run.run_folder import RunFolder
from trainers.run.run_state import Status
from trainers.run.wandb_record import read_wandb_record

API_KEY = "1234567890abcdef" * 2 + "12345678"
LAUNCH = [sys.executable, "-c", "import sys; from launcher.cli import main; sys.exit(main())"]


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WandbServer]:
    server = WandbServer()
    for name, value in {
        "HOME": str(tmp_path / "home"),
        "WANDB_API_KEY": API_KEY,
        "WANDB_BASE_URL": server.url,
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
    }.items():
        monkeypatch.setenv(name, value)
    yield server
    server.close()


@pytest.fixture
def experiment(tmp_path: Path) -> ExperimentFolder:
    return ExperimentFolder(tmp_path / "offline")


def synced(*runs: RunFolder) -> list[SyncResult]:
    return sorted(sync_runs(runs), key=lambda result: result.folder)


def test_a_run_is_brought_once(server: WandbServer, experiment: ExperimentFolder) -> None:
    """Config, rows and end arrive; W&B then has all, and is not even asked the next time."""
    run = experiment.run("first")
    write_offline_run(run, range(30))

    (result,) = synced(run)
    assert (result.outcome, result.after, result.iteration) == ("synced", -1, 29)
    (served,) = server.runs.values()
    assert (served.name, served.display_name, served.group) == ("first", "first", "offline")
    assert served.config["num_iterations"]["value"] == 30
    assert served.iterations == list(range(30))
    assert served.state == "finished"
    assert server.max_connections <= 8
    num_asked = len(server.asked)
    assert [each.outcome for each in synced(run)] == ["complete"]
    assert len(server.asked) == num_asked


def test_a_run_that_goes_on_is_brought_again(
    server: WandbServer, experiment: ExperimentFolder
) -> None:
    """Before its first row a run has its config there; later only what is new is sent, without the
    end of a line that its writer was killed at."""
    run = experiment.run("first")
    write_offline_run(run, range(0), status=Status.RUNNING)
    synced(run)
    assert server.runs["first"].config["name"]["value"] == "first"

    write_offline_run(run, range(10), status=Status.RUNNING)
    with run.metrics.open("a") as file:
        file.write('{"iteration": 10, "lo')
    synced(run)
    assert server.runs["first"].iterations == list(range(10))
    assert server.runs["first"].state == "preempted"

    write_offline_run(run, range(25))
    synced(run)
    assert server.runs["first"].iterations == list(range(25))
    assert server.runs["first"].state == "finished"


def test_a_run_that_is_reported_at_the_moment_is_left_alone(
    server: WandbServer, experiment: ExperimentFolder
) -> None:
    """Its trainer has it open at W&B."""
    run = experiment.run("first")
    write_offline_run(run, range(3), status=Status.RUNNING)
    run.wandb.mkdir()
    with Lease.take(run.wandb_lease, owner="its trainer", attempt=0):
        (result,) = synced(run)

    assert result.outcome == "open"
    assert server.runs == {}


def test_a_server_that_is_away_is_told_soon(
    experiment: ExperimentFolder, server: WandbServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What W&B refuses is told for each run, and after some failures in a row no more is tried."""
    monkeypatch.setattr(wandb_sync, "MAX_FAILURES", 2)
    server.fault = lambda operation: 403
    write_offline_runs(experiment, 5, 3)

    results = synced(*[experiment.run(f"run-{number:04d}") for number in range(5)])

    assert {each.outcome for each in results} == {"failed"}
    assert sum(each.reason.startswith("not tried: this account may not") for each in results) >= 1
    record = read_wandb_record(experiment.run("run-0000"))
    assert record is not None and record.iteration == -1


def test_killed_half_way_nothing_is_doubled_or_missing(
    server: WandbServer, experiment: ExperimentFolder
) -> None:
    """The command is killed by SIGKILL in the middle, and given again."""
    write_offline_runs(experiment, 6, 300)
    command = [*LAUNCH, "sync", str(experiment.path)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as first:
        while sum(run.state == "finished" for run in list(server.runs.values())) < 2:
            assert first.poll() is None
            time.sleep(0.02)
        first.kill()

    done = subprocess.run([*command, "--json"], capture_output=True, text=True, check=True)

    outcomes = {each["outcome"] for each in json.loads(done.stdout)}
    assert outcomes == {"complete", "synced"}
    assert len(server.runs) == 6
    for run in server.runs.values():
        assert run.iterations == list(range(300))
        assert run.state == "finished"
    assert server.max_connections <= 8
    assert API_KEY not in done.stdout + done.stderr

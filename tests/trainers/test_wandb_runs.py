"""Whole runs that report to W&B servers of all kinds: they train as if there were none."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs
import pytest

from scripts.workloads.outcome import rest_of_state, tensors, values
from scripts.workloads.small_runs import write_run
from tests.fakes.wandb_server import Fault, WandbServer
from trainers import exit_codes
from trainers.config.config_io import read_run_config, write_run_config
from trainers.run.run_folder import RunFolder
from trainers.run.run_state import RunState, write_state
from trainers.run.wandb_record import read_wandb_record

API_KEY = "1234567890abcdef" * 2 + "12345678"
RUN_ID = "abc123"
NUM_ITERATIONS = 23
ONLINE = {"wandb": {"project": "tests", "mode": "online"}}

pytestmark = pytest.mark.slow


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WandbServer]:
    server = WandbServer()
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("WANDB_API_KEY", API_KEY)
    monkeypatch.setenv("WANDB_BASE_URL", server.url)
    yield server
    server.close()


def new_run(parent: Path, name: str, **changes: object) -> RunFolder:
    run = write_run(parent, name, num_iterations=NUM_ITERATIONS, **changes)
    write_state(run, RunState(wandb_id=RUN_ID))
    return run


def train(run: RunFolder) -> int:
    """Train in a process of its own; return its exit code."""
    with run.log(0).open("ab") as log:
        return subprocess.run(
            [sys.executable, "-m", "trainers", str(run.path)], stdout=log, stderr=log
        ).returncode


@pytest.fixture(scope="module")
def without(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run that does not report to W&B."""
    run = new_run(tmp_path_factory.mktemp("without"), "run")
    assert train(run) == exit_codes.FINISHED, run.log(0).read_text()
    return run


def refusing(server: WandbServer) -> Callable[[str], Fault]:
    return lambda operation: 403


def rate_limiting(server: WandbServer) -> Callable[[str], Fault]:
    return lambda operation: 429


def stalling(server: WandbServer) -> Callable[[str], Fault]:
    return lambda operation: "stall"


def slow(server: WandbServer) -> Callable[[str], Fault]:
    return lambda operation: 12.0 if len(server.asked) == 0 else None


def deleting(server: WandbServer) -> Callable[[str], Fault]:
    def delete(operation: str) -> Fault:
        if operation == "file_stream" and RUN_ID in server.runs:
            server.delete(RUN_ID)
        return None

    return delete


@pytest.mark.parametrize("kind", [refusing, rate_limiting, stalling, slow, deleting, None])
def test_no_server_changes_a_run(
    tmp_path: Path,
    server: WandbServer,
    without: RunFolder,
    kind: Callable[[WandbServer], Callable[[str], Fault]] | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Checkpoints have the same bytes as without W&B, metrics.jsonl the same rows, times aside; the
    run finishes, and no file has the key. Without a kind the server is dead."""
    if kind is None:
        monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    else:
        server.fault = kind(server)
    run = new_run(tmp_path, "run", **ONLINE)

    assert train(run) == exit_codes.FINISHED, run.log(0).read_text()

    assert values(run) == values(without)
    assert tensors(run) == tensors(without)
    assert rest_of_state(run) == rest_of_state(without)
    record = read_wandb_record(run)
    assert record is not None
    if kind is slow:
        assert server.runs[RUN_ID].iterations == list(range(NUM_ITERATIONS))
    else:
        assert record.problem
        assert "training continues without W&B" in run.log(0).read_text()
    files = [path for path in run.path.rglob("*") if path.is_file()]
    assert [path for path in files if API_KEY.encode() in path.read_bytes()] == []


def test_rows_of_means_survive_stops(tmp_path: Path) -> None:
    """A run that is resumed in the middle of an interval has the rows of one that never ended."""
    whole, resumed = (
        new_run(tmp_path, name, **{"metrics.every_iterations": 5}) for name in ("whole", "resumed")
    )
    config = read_run_config(resumed.config)
    for num_iterations in (13, NUM_ITERATIONS):
        write_run_config(resumed.config, attrs.evolve(config, num_iterations=num_iterations))
        assert train(resumed) == exit_codes.FINISHED, resumed.log(0).read_text()
    assert train(whole) == exit_codes.FINISHED, whole.log(0).read_text()

    assert [row["iteration"] for row in values(whole)] == [0, 5, 10, 15, 20]
    assert values(resumed) == values(whole)
    assert tensors(resumed) == tensors(whole)

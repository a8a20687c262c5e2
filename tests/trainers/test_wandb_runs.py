"""Whole runs that report to W&B servers of all kinds: they train as if there were none."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from scripts.workloads.outcome import rest_of_state, tensors, values
from scripts.workloads.small_runs import write_run
from tests.fakes.wandb_server import Fault, WandbServer
from trainers import exit_codes
from trainers.run.run_folder import RunFolder
from trainers.run.run_state import RunState, read_state, write_state
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


def train(run: RunFolder, *, stop_after: int | None = None) -> int:
    """Train in a process of its own, to its end, or to a SIGTERM; return its exit code."""
    with run.log(0).open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "trainers", str(run.path)], stdout=log, stderr=log
        )
    while stop_after is not None and read_state(run).iteration < stop_after:
        assert process.poll() is None, run.log(0).read_text()
        time.sleep(0.02)
    if stop_after is not None:
        process.send_signal(signal.SIGTERM)
    return process.wait()


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
    """A run that is stopped in the middle of an interval has the rows of one that is not."""
    every = {"metrics.every_iterations": 5, "num_iterations": 400}
    whole = write_run(tmp_path, "whole", every)
    assert train(whole) == exit_codes.FINISHED
    stopped = write_run(tmp_path, "stopped", every)
    while train(stopped, stop_after=read_state(stopped).iteration + 1) == exit_codes.STOPPED:
        assert read_state(stopped).iteration < 400

    assert len(values(whole)) == 80
    assert values(stopped) == values(whole)

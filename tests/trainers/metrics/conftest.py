"""Runs that report to W&B on this machine, and nowhere else."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.wandb_server import WandbServer
from tests.trainers.metrics.runs import RUN_ID, record_of, run_config
from trainers.config.run_config import WandbMode
from trainers.metrics.open_writer import open_metric_writer
from trainers.metrics.row_feed import RowFeed
from trainers.run.run_folder import RunFolder
from trainers.run.run_state import RunState, write_state

API_KEY = "1234567890abcdef" * 2 + "12345678"
CLOSED_PORT = "http://127.0.0.1:9"

Attempt = Callable[..., None]
Killed = Callable[[str, int], None]


@pytest.fixture(autouse=True)
def api_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The user's secret. W&B finds no other settings, and no server unless a test starts one."""
    for name, value in {
        "HOME": str(tmp_path / "home"),
        "WANDB_API_KEY": API_KEY,
        "WANDB_BASE_URL": CLOSED_PORT,
        "WANDB_ERROR_REPORTING": "false",
    }.items():
        monkeypatch.setenv(name, value)
    return API_KEY


@pytest.fixture(autouse=True)
def feeds(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """End those that a failed test leaves: W&B's client has one service for a whole process."""
    begun: list[RowFeed] = []
    begin = RowFeed.__init__

    def remembered(self: RowFeed, *arguments: Any, **options: Any) -> None:
        begin(self, *arguments, **options)
        begun.append(self)

    monkeypatch.setattr(RowFeed, "__init__", remembered)
    yield
    for each in begun:
        if each._thread.is_alive():
            each.close(finished=False, preempted=False)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[WandbServer]:
    server = WandbServer()
    monkeypatch.setenv("WANDB_BASE_URL", server.url)
    yield server
    server.close()


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    """The folder of a run that has been submitted."""
    path = tmp_path / "runs" / "first"
    path.mkdir(parents=True)
    write_state(RunFolder(path), RunState(wandb_id=RUN_ID))
    return RunFolder(path)


@pytest.fixture
def attempt(folder: RunFolder) -> Attempt:
    """Report the iterations from `start` to before `stop`, and end the attempt."""

    def report(
        mode: WandbMode, start: int, stop: int, *, finished: bool = False, preempted: bool = False
    ) -> None:
        record = record_of(folder)
        writer = open_metric_writer(run_config(mode), record, start_iteration=start)
        for iteration in range(start, stop):
            writer.write(iteration, {"loss": 1 / (iteration + 1)})
        writer.sync()
        writer.close(finished=finished, preempted=preempted)
        record.close(10.0)

    return report


@pytest.fixture
def killed(folder: RunFolder) -> Killed:
    """Report some iterations in a process that is killed right after."""

    def report(mode: str, num_iterations: int) -> None:
        with reporting(folder, mode, num_iterations) as process:
            process.kill()

    return report


@contextmanager
def reporting(folder: RunFolder, mode: str, num_iterations: int) -> Iterator[subprocess.Popen[str]]:
    """`tests.trainers.metrics.report` in a process of its own, when it has reported and waits."""
    command = [sys.executable, "-m", "tests.trainers.metrics.report"]
    with subprocess.Popen(
        [*command, folder.path, mode, str(num_iterations)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "reported\n"
        yield process
        process.kill()

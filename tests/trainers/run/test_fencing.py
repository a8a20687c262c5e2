"""A process that has been passed over writes nothing any more."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from trainers.checkpoints import CheckpointReader
from trainers.metrics import read_rows
from trainers.run.run_folder import RunFolder
from trainers.run.run_state import read_state

IDENTITY = "0123456789abcdef"
FOREVER = 10**9

NUM_STOPS = 20


class Writers:
    """Attempts at a run, each a process: see `fenced_writer.py`."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._attempts = 0

    def start(self, *, num_commits: int = FOREVER, stop_at: int = 0) -> int:
        """The process of one more attempt."""
        self._attempts += 1
        return int(self._answer(f"start {self._attempts} {num_commits} {stop_at}"))

    def wait(self, pid: int) -> str:
        """What has become of it: `stopped`, or its exit status."""
        return self._answer(f"wait {pid}")

    def _answer(self, command: str) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(command, file=self._process.stdin, flush=True)
        return self._process.stdout.readline().strip()


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path)


@pytest.fixture
def writers(folder: RunFolder) -> Iterator[Writers]:
    command = [sys.executable, str(Path(__file__).with_name("fenced_writer.py")), str(folder.path)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,
    ) as process:
        yield Writers(process)
        os.killpg(process.pid, signal.SIGKILL)


def contents(folder: RunFolder) -> dict[str, bytes]:
    """All files and folders of a run, byte for byte; not what the next attempt will sweep away."""
    return {
        str(path.relative_to(folder.path)): path.read_bytes() if path.is_file() else b""
        for path in folder.path.rglob("*")
        if ".tmp-" not in str(path)
    }


def assert_whole(folder: RunFolder) -> None:
    """Checkpoint, state and metrics agree, and nothing else lies about."""
    newest = CheckpointReader(folder.checkpoints, fingerprint=IDENTITY).newest()
    assert newest is not None
    assert newest.iteration == read_state(folder).iteration
    assert [row for row, _ in read_rows(folder.metrics)] == list(range(newest.iteration))
    assert not list(folder.path.rglob(".tmp-*"))


def go_on_after(folder: RunFolder, writers: Writers, stopped: int) -> None:
    """Have another attempt carry on; then wake up the stopped one, which must change nothing."""
    assert writers.wait(writers.start(num_commits=3)) == "0"
    assert_whole(folder)
    before = contents(folder)

    os.kill(stopped, signal.SIGCONT)

    assert writers.wait(stopped) == "3"
    after = contents(folder)
    assert without_late_event(after, before) == before


def without_late_event(after: dict[str, bytes], before: dict[str, bytes]) -> dict[str, bytes]:
    """An event may come late, if its process was stopped between the fence and the one write."""
    events = after["events.jsonl"]
    late = events.removeprefix(before["events.jsonl"])
    if not late or late == events or json.loads(late)["event"] != "checkpoint":
        return after
    return {**after, "events.jsonl": before["events.jsonl"]}


@pytest.mark.slow
def test_it_may_be_stopped_anywhere(folder: RunFolder, writers: Writers) -> None:
    """Stopped at any moment, and passed over, it goes on to exit with 3 and changes nothing."""
    moments = random.Random(0)
    writers.wait(writers.start(num_commits=1))
    for _ in range(NUM_STOPS):
        pid = writers.start()
        before = read_state(folder)
        while read_state(folder) == before:
            time.sleep(0.001)
        time.sleep(moments.uniform(0, 0.05))
        os.kill(pid, signal.SIGSTOP)
        assert writers.wait(pid) == "stopped"

        go_on_after(folder, writers, pid)


@pytest.mark.slow
def test_the_fence_need_not_be_quick(folder: RunFolder, writers: Writers) -> None:
    """Nor does it when it was stopped right after the fence had let it pass, at whatever file."""
    writers.wait(writers.start(num_commits=3))
    for stop_at in range(1, 22):
        pid = writers.start(stop_at=stop_at)
        assert writers.wait(pid) == "stopped"

        go_on_after(folder, writers, pid)

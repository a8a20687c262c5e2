"""`python -m trainers` on a full disk, on one that hangs, and with files that are away."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from scripts.stress.fuzz_checkpoint.running_steps import plan
from scripts.workloads.fault_windows import FaultWindows
from scripts.workloads.logs import json_lines
from trainers import exit_codes
from trainers.__main__ import _read_config
from trainers.errors import ConfigError, UnavailableError
from trainers.metrics import read_rows
from trainers.run.run_folder import RunFolder
from trainers.run.run_state import EventKind, append_event, read_state
from trainers.stop_flag import StopFlag

IMPATIENT = (
    "import sys; from scripts.stress.fuzz_checkpoint.impatience import be_impatient; "
    "from trainers.__main__ import exit_with, main; be_impatient(); exit_with(main(sys.argv[1:]))"
)
LONG_S = 300.0
"""Only a fault of the code takes as long."""


@contextmanager
def training(
    run: RunFolder, *command: str, environment: Mapping[str, str] = {}
) -> Iterator[subprocess.Popen[bytes]]:
    run.logs.mkdir(exist_ok=True)
    with run.log(0).open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, *command, str(run.path)],
            stderr=log,
            env={**os.environ, **environment},
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def wait_for_rows(run: RunFolder, process: subprocess.Popen[bytes], number: int) -> None:
    while not run.metrics.exists() or sum(1 for _ in read_rows(run.metrics)) < number:
        assert process.poll() is None, run.log(0).read_text()
        time.sleep(0.05)


def wait_for_log(run: RunFolder, process: subprocess.Popen[bytes], text: str) -> None:
    while text not in run.log(0).read_text():
        assert process.poll() is None, run.log(0).read_text()
        time.sleep(0.05)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MiB, with the logs elsewhere."""
    path = tmp_path / "disk"
    path.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(path)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode != 0:
        pytest.skip("needs the right to mount a file system")
    yield path
    subprocess.run(["umount", str(path)], check=True)


@pytest.mark.slow
def test_a_preempted_run_waits_for_room(small_disk: Path, tmp_path: Path) -> None:
    """Its last checkpoint meets a full disk, and is saved once there is room; nothing is lost."""
    run = RunFolder(small_disk / "run")
    run.path.mkdir()
    (tmp_path / "logs").mkdir()
    run.logs.symlink_to(tmp_path / "logs")
    plan(run.path, num_iterations=10**6, **{"checkpoint.every_iterations": 10**6})
    with training(run, "-m", "trainers") as process:
        wait_for_rows(run, process, 3)
        fill = small_disk / "fill"
        with pytest.raises(OSError, match="No space"), fill.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))

        process.send_signal(signal.SIGTERM)
        wait_for_log(run, process, "the last checkpoint is tried again for a while: ")
        fill.unlink()

        assert process.wait(LONG_S) == exit_codes.STOPPED
    state = read_state(run)
    rows = [iteration for iteration, _ in read_rows(run.metrics)]
    assert state.status == "waiting"
    assert rows == list(range(state.saved_iteration))
    assert [each.name for each in run.checkpoints.iterdir()] == [
        f"iteration-{state.saved_iteration:09d}"
    ]


@pytest.mark.slow
def test_a_file_system_that_hangs_stops_neither_training_nor_signals(tmp_path: Path) -> None:
    """A FIFO stands for a file that cannot be opened: training goes on, and a stop is heeded."""
    run = RunFolder(tmp_path / "run")
    run.path.mkdir()
    plan(run.path, num_iterations=10**6, **{"checkpoint.every_iterations": 10**6})
    with training(run, "-c", IMPATIENT) as process:
        wait_for_rows(run, process, 3)
        run.state.unlink()
        os.mkfifo(run.state)
        num_reports = run.log(0).read_text().count(" s a step")
        while run.log(0).read_text().count(" s a step") < num_reports + 3:
            assert process.poll() is None, run.log(0).read_text()
            time.sleep(0.05)

        process.send_signal(signal.SIGTERM)

        assert process.wait(LONG_S) == exit_codes.STOPPED
    assert f"cannot write {run.state}: Connection timed out; lost: " in run.log(0).read_text()


@pytest.mark.slow
def test_a_state_that_is_missing_ends_a_start_and_is_not_made_up(tmp_path: Path) -> None:
    """The run has events, so it had a state; it may come back with its file system."""
    run = RunFolder(tmp_path / "run")
    run.path.mkdir()
    plan(run.path)
    append_event(run, EventKind.SUBMITTED)

    with training(run, "-m", "trainers") as process:
        assert process.wait(LONG_S) == exit_codes.UNAVAILABLE

    assert f"{run.state} is missing" in run.log(0).read_text()
    assert not run.state.exists()


@pytest.mark.slow
def test_a_config_that_is_away_for_a_moment_is_waited_for(tmp_path: Path) -> None:
    """It appears after the process has looked for it."""
    run = RunFolder(tmp_path / "run")
    run.path.mkdir()
    plan(run.path, num_iterations=3)
    away = run.config.rename(tmp_path / "away.yaml")
    with training(run, "-X", "importtime", "-m", "trainers") as process:
        wait_for_log(run, process, "trainers.training.startup")
        threading.Timer(0.7, away.rename, [run.config]).start()

        assert process.wait(LONG_S) == exit_codes.FINISHED


@pytest.mark.parametrize("is_submitted", [True, False])
def test_the_config_of_a_submitted_run_is_never_wrong_for_being_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_submitted: bool
) -> None:
    """It was there when the run was submitted; a path that a user has typed may be wrong."""
    monkeypatch.setattr("trainers.__main__.START_TIMEOUT_S", 0.5)
    monkeypatch.setattr("trainers.__main__.READ_TIMEOUT_S", 0.5)
    run, expected = RunFolder(tmp_path), UnavailableError if is_submitted else ConfigError

    with pytest.raises(expected, match=r"config\.yaml"):
        _read_config(run, StopFlag(), is_submitted=is_submitted)


def test_a_config_that_cannot_be_read_at_present_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file system says EIO, twice."""
    run, read = RunFolder(tmp_path), Path.read_text
    plan(run.path, num_iterations=3)
    answers = iter([OSError(errno.EIO, os.strerror(errno.EIO))] * 2)

    def fail_twice(path: Path, *arguments: Any, **options: Any) -> str:
        for error in answers:
            raise error
        return read(path, *arguments, **options)

    monkeypatch.setattr(Path, "read_text", fail_twice)

    assert _read_config(run, StopFlag(), is_submitted=True).num_iterations == 3


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "part"),
    [
        (errno.ENOENT, ""),
        (errno.ESTALE, ""),
        (errno.ENOENT, "/.lease.json.lock"),
        (errno.ENOENT, "/checkpoints"),
        (errno.EIO, "/metrics.jsonl"),
    ],
)
def test_a_run_whose_files_are_away_at_its_start_resumes_once_they_are_back(
    tmp_path: Path, number: int, part: str
) -> None:
    """It is not taken for one without a config, checkpoints or leases."""
    run = RunFolder(tmp_path / "run")
    run.path.mkdir()
    plan(run.path, num_iterations=3)
    with training(run, "-m", "trainers", "--attempt=0") as process:
        assert process.wait(LONG_S) == exit_codes.FINISHED
    plan(run.path, num_iterations=5)
    windows = FaultWindows(tmp_path)
    window = windows.open(run.path, number, part=part)
    command = ("-m", "trainers", "--attempt=1")
    with training(run, *command, environment=windows.environment) as process:
        window.wait_until_struck(4, timeout_s=LONG_S)
        window.close()

        assert process.wait(LONG_S) == exit_codes.FINISHED, run.log(0).read_text()
    restored = [each for each in json_lines(run.events) if each["event"] == EventKind.RESTORED]
    assert [each["iteration"] for each in restored] == [3]

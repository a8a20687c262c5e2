"""`python -m trainers` when the disk refuses."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from scripts.stress.fuzz_checkpoint import faulty_trainer
from scripts.stress.fuzz_checkpoint.file_faults import preloaded
from scripts.stress.fuzz_checkpoint.running_steps import plan
from trainers import exit_codes
from trainers.run.run_folder import RunFolder
from trainers.run.run_state import read_state

pytestmark = pytest.mark.slow


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """It has a checkpoint of iteration 3; others are to come at 6 and at 8, where it ends."""
    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir()
    plan(folder.path, num_iterations=3)
    assert attempt(folder)[0] == exit_codes.FINISHED
    plan(folder.path)
    return folder


def attempt(run: RunFolder, *fault: str) -> tuple[int, str]:
    """Exit status, and what it has logged.

    Args:
        fault: See `faulty_trainer`; without one the disk is as it should be.
    """
    command = [sys.executable, "-m", "trainers", str(run.path)]
    if fault:
        command = [sys.executable, faulty_trainer.__file__, *fault, str(run.path)]
    environment = preloaded(run.path.parent)
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, env=environment)
    return done.returncode, done.stderr


def events(run: RunFolder, kind: str) -> list[dict[str, Any]]:
    every = map(json.loads, run.events.read_text().splitlines())
    return [each for each in every if each["event"] == kind]


def saved(run: RunFolder) -> list[str]:
    return sorted(each.name for each in run.checkpoints.iterdir())


def test_a_full_disk_costs_one_periodic_checkpoint(run: RunFolder) -> None:
    """Training goes on without it, log and events say so, and the run finishes."""
    exit_code, log = attempt(run, "ENOSPC", "iteration-000000006")

    assert exit_code == exit_codes.FINISHED
    refusal = f"cannot write {run.checkpoints}/iteration-000000006: No space left on device"
    assert f"training continues without this checkpoint: {refusal}" in log
    (event,) = events(run, "checkpoint_failed")
    assert event["iteration"] == 6
    assert event["reason"].startswith(refusal)
    assert saved(run) == ["iteration-000000003", "iteration-000000008"]
    assert read_state(run).status == "finished"


def test_a_read_only_file_system_ends_the_run_at_its_last_checkpoint(run: RunFolder) -> None:
    """It trains to its end, says why that is not saved, and goes on from there once it can."""
    exit_code, log = attempt(run, "EROFS", "checkpoints/.tmp-iteration")

    assert exit_code == exit_codes.UNAVAILABLE
    refusal = f"cannot write {run.checkpoints}/iteration-000000008: Read-only file system"
    assert log.count(f"the last checkpoint is tried again for a while: {refusal}") == 1
    assert f"StorageUnavailableError: {refusal}" in log
    state = read_state(run)
    assert (state.status, state.reason.partition(". ")[0]) == (
        "failed",
        f"StorageUnavailableError: {refusal}",
    )
    assert [each["iteration"] for each in events(run, "checkpoint_failed")] == [6, 8]
    assert saved(run) == ["iteration-000000003"]

    assert attempt(run)[0] == exit_codes.FINISHED
    assert [each["iteration"] for each in events(run, "restored")] == [3, 3]
    assert saved(run)[-1] == "iteration-000000008"

"""Kills and faults at every step, by `scripts/fuzz-checkpoint`, which does the same at length."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.workloads.checkout import ROOT

FUZZ = ROOT / "scripts" / "stress" / "fuzz-checkpoint"

pytestmark = pytest.mark.slow


def fuzz(folder: Path, *arguments: str) -> dict[str, int]:
    """The number of cases of each kind; none of them may be wrong."""
    command = [sys.executable, str(FUZZ), "--seed=0", "--jobs=2", f"--folder={folder}", *arguments]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert list(folder.iterdir()) == []
    found = re.findall(r"^([\w-]+): (\d+) cases, 0 wrong$", done.stdout, re.MULTILINE)
    return {kind: int(count) for kind, count in found}


def test_nothing_acknowledged_is_lost_to_a_kill(tmp_path: Path) -> None:
    """Whenever a training is killed, what was acknowledged is there, whole, and nothing else."""
    assert fuzz(tmp_path, "--kills=50", "--faults=none", "--damages=0") == {"kills": 50}


def test_no_fault_at_any_step_does_harm(tmp_path: Path) -> None:
    """Training goes on and says so, and the last good checkpoint stands; so with restoring."""
    found = fuzz(tmp_path, "--kills=0", "--faults=sample", "--damages=0")

    at_least = {"running": 5, "saving": 40, "saving-chunks": 40, "restoring": 40}
    assert found.keys() == at_least.keys()
    assert all(found[kind] >= count for kind, count in at_least.items()), found


def test_a_case_can_be_repeated(tmp_path: Path) -> None:
    """By its name; without the last part of it, all that belong together are."""
    assert fuzz(tmp_path, "--only=saving/ENOSPC/3") == {"saving": 1}
    assert fuzz(tmp_path, "--only=saving/short") == {"saving": 3}
    assert fuzz(tmp_path, "--only=kills/7") == {"kills": 25}

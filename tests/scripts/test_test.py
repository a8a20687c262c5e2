"""scripts/test: what it leaves out."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from scripts.workloads.checkout import ROOT

NOT_RUN = (
    "the tests on the Slurm of trixie need root and what scripts/setup-slurm --release trixie "
    "installs"
)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """One with scripts/test and stand-ins: Slurm can be had here, that of a release cannot."""
    (tmp_path / "scripts").mkdir()
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    shutil.copy(ROOT / "scripts" / "test", tmp_path / "scripts" / "test")
    stand_ins = {"scripts/setup-venv": "exit 0", "scripts/setup-chromium": "exit 0"}
    stand_ins["scripts/setup-slurm"] = "[ $# = 0 ] || exit 3"
    for tool in ("ruff", "mypy", "lint-imports"):
        stand_ins[f".venv/bin/{tool}"] = "exit 0"
    stand_ins[".venv/bin/pytest"] = 'echo "pytest on ${SANDBOX_RELEASE:-the installed Slurm}"'
    for name, line in stand_ins.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{line}\n")
        (tmp_path / name).chmod(0o755)
    return tmp_path


def run(checkout: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    inherited = {
        name: value for name, value in os.environ.items() if name not in ("CI", "SANDBOX_RELEASE")
    }
    command = [str(checkout / "scripts" / "test"), "--slurm", "trixie"]
    return subprocess.run(command, env=inherited | variables, capture_output=True, text=True)


def test_a_release_that_cannot_be_had_is_left_out(checkout: Path) -> None:
    """The other tests run, and the last line says what did not."""
    done = run(checkout)

    assert done.returncode == 0, done.stderr
    assert "pytest on the installed Slurm\n" in done.stdout
    assert "pytest on trixie" not in done.stdout
    assert done.stdout.endswith(f"\nNOT RUN: {NOT_RUN}\n")


@pytest.mark.skipif(os.geteuid() != 0, reason="without root there is no Slurm at all")
def test_continuous_integration_leaves_no_release_out(checkout: Path) -> None:
    """It fails, before any test runs."""
    done = run(checkout, CI="true")

    assert done.returncode == 1
    assert done.stderr == f"scripts/test: {NOT_RUN}; continuous integration must run them\n"
    assert "pytest" not in done.stdout

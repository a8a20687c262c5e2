"""Scripts start as they are, or say what they need."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from scripts.workloads.checkout import ROOT
from tests.scripts.scripts import COMMANDS, is_python

BARE = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": os.environ.get("HOME", "/")}
"""Nothing is activated."""
WITHOUT_VENV = ("scripts/slurm-sandbox",)
"""Python that needs the standard library only."""
NEED_VENV = [each for each in COMMANDS if is_python(ROOT / each) and each not in WITHOUT_VENV]


def start(command: Path, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [command, *arguments], env=BARE, cwd=cwd, capture_output=True, text=True, timeout=120
    )


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scripts of a fresh clone, which has no .venv."""
    folder = tmp_path_factory.mktemp("a clone")
    shutil.copytree(
        ROOT / "scripts", folder / "scripts", ignore=shutil.ignore_patterns("__pycache__")
    )
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_every_script_starts_where_nothing_is_activated(command: str, tmp_path: Path) -> None:
    """`--help` says what it does, from any folder."""
    done = start(ROOT / command, "--help", cwd=tmp_path)

    assert done.returncode == 0, done.stderr
    assert len(done.stdout) > 50
    assert done.stderr == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", NEED_VENV)
def test_a_script_without_its_environment_says_how_to_get_one(command: str, copy: Path) -> None:
    """In one line, and it does nothing else."""
    done = start(copy / command, "--help", cwd=copy)

    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr == (
        f"{copy / command}: there is no .venv in {copy}; "
        "run scripts/setup-venv requirements-dev.lock first\n"
    )


def test_a_sandbox_needs_no_environment(copy: Path) -> None:
    """Slurm can be tried with Debian's Python alone."""
    done = start(copy / "scripts" / "slurm-sandbox", "--help", cwd=copy)

    assert done.returncode == 0, done.stderr


def test_an_unknown_lock_file_is_named(copy: Path) -> None:
    """The message has what was found, and what is allowed."""
    done = start(copy / "scripts" / "setup-venv", "requirments.lock", cwd=copy)

    assert done.returncode == 1
    assert "found 'requirments.lock'" in done.stderr
    assert "allowed are requirements.lock and requirements-dev.lock" in done.stderr
    assert not (copy / ".venv").exists()

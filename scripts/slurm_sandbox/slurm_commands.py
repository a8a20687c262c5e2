"""Slurm's own commands, spoken to this sandbox."""

from __future__ import annotations

import os
import subprocess

from scripts.slurm_sandbox.errors import SandboxError
from scripts.slurm_sandbox.folder import Folder
from scripts.slurm_sandbox.release import search_path

TIMEOUT_S = 20


def slurm(folder: Folder, *command: str) -> str:
    """What the command prints.

    Raises:
        SandboxError: It failed, or did not answer in time.
    """
    try:
        done = _run(folder, command)
    except subprocess.TimeoutExpired as error:
        raise SandboxError(f"{' '.join(command)}: no answer in {TIMEOUT_S} s") from error
    if done.returncode != 0:
        raise SandboxError(f"{' '.join(command)}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def succeeds(folder: Folder, *command: str) -> bool:
    try:
        return _run(folder, command).returncode == 0
    except subprocess.TimeoutExpired:
        return False


def _run(folder: Folder, command: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("SLURM_")
    }
    path = search_path(folder.release, environment["PATH"])
    return subprocess.run(
        command,
        env=environment | {"SLURM_CONF": str(folder.slurm_conf), "PATH": path},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )

"""Where the code of a submission comes from, and how it was submitted."""

from __future__ import annotations

import importlib
import os
import shlex
import subprocess
from collections.abc import Iterable
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from launcher.experiment.experiment import Experiment
from trainers.run.submission_record import SubmissionRecord

_GIT_TIMEOUT_S = 5.0
"""A large repository on a network file system takes longer; then its commit is left out."""


def submission_record(
    experiment: Experiment, *, cluster: str, partition: str = "", code: str = ""
) -> SubmissionRecord:
    """Return the record of a submission that is being made.

    Args:
        code: The name of the code snapshot.
    """
    # W&B shows the command: who is told, and how, is nobody else's business.
    overrides = [each for each in experiment.overrides if not each.startswith("notify.")]
    words = [str(experiment.source), *overrides, "--cluster", cluster]
    python_path = dict.fromkeys(path for run in experiment.runs for path in run.python_path)
    return SubmissionRecord(
        command=shlex.join(["launch", "submit", *words]),
        cluster=cluster,
        partition=partition,
        code=code,
        version=_version(),
        git=git_commits([Path(importlib.import_module("trainers").__path__[0]), *python_path]),
    )


def git_commits(folders: Iterable[Path]) -> dict[str, str]:
    """Return the commit of each repository that tracks files of the folders, by its name."""
    found: dict[str, str] = {}
    for folder in folders:
        with suppress(OSError, subprocess.SubprocessError, ValueError):
            if not _git(folder, "ls-files"):
                continue  # an installed package below somebody's project, say
            root, commit = _git(folder, "rev-parse", "--show-toplevel", "HEAD").splitlines()
            changes = _git(Path(root), "status", "--porcelain", "--untracked-files=no")
            found[Path(root).name] = commit + (" + uncommitted changes" if changes else "")
    return found


def _git(folder: Path, *words: str) -> str:
    return subprocess.run(
        ["git", "-C", str(folder), *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=True,
        text=True,
        timeout=_GIT_TIMEOUT_S,
        # Nobody waits for a lock of the index; `status` would refresh it.
        env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"},
    ).stdout.strip()


def _version() -> str:
    with suppress(PackageNotFoundError):
        return version("launch-trainers")
    return ""

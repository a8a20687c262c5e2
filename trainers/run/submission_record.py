"""How a run was submitted: what the launcher leaves in its folder for reports about it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import attrs
from attrs import field, frozen

from trainers.run.atomic_write import atomic_write
from trainers.run.run_folder import RunFolder


@frozen(kw_only=True)
class SubmissionRecord:
    """The contents of `submission.json`, of the last submission; nothing that trains reads it."""

    command: str
    """The command line, as text."""
    cluster: str
    """The name of the cluster config."""
    partition: str = ""
    """Of Slurm."""
    code: str = ""
    """The hash of the code snapshot; empty for a job that runs the installed code."""
    version: str = ""
    """Of this package."""
    git: Mapping[str, str] = field(factory=dict)
    """The commit of each repository that the code lies in, by the name of its folder, with
    ` + uncommitted changes` if there were any."""


def write_submission(folder: RunFolder, record: SubmissionRecord) -> None:
    """Replace the record of the last submission."""
    with atomic_write(folder.submission, fence=folder.fence) as file:
        file.write(json.dumps(attrs.asdict(record), indent=1).encode())


def read_submission(folder: RunFolder) -> SubmissionRecord | None:
    """Return the record; None if an earlier version, or nobody, has submitted the run.

    Raises:
        OSError: It cannot be read at present.
    """
    try:
        data: dict[str, Any] = json.loads(folder.submission.read_bytes())
        known = {each.name for each in attrs.fields(SubmissionRecord)}
        return SubmissionRecord(**{key: data[key] for key in data if key in known})
    except (FileNotFoundError, ValueError, TypeError):
        return None

"""What is known of the scheduler's job that has a pack."""

from __future__ import annotations

import json

import attrs
from attrs import frozen

from launcher.experiment.experiment_folder import PackFolder
from trainers.atomic_write import atomic_write


@frozen(kw_only=True)
class SubmittedJob:
    """The contents of `job.json`; a pack that was never submitted to a scheduler has none."""

    job_id: str
    """`ARRAY_TASK` for a task of an array; empty while the scheduler is being asked."""
    submitted: float
    """Unix time in seconds."""
    resubmissions: int = 0
    """How many jobs the pack had before."""
    replaces: str = ""
    """The last one of these."""

    def is_replaced(self, job_id: str) -> bool:
        """Whether another job has the pack, which this one had once."""
        return job_id == self.replaces or self.job_id not in ("", job_id)


def write_job(folder: PackFolder, job: SubmittedJob) -> None:
    with atomic_write(folder.job) as file:
        file.write(json.dumps(attrs.asdict(job)).encode())


def read_job(folder: PackFolder) -> SubmittedJob | None:
    """The job of a pack; None if it has none, or none yet."""
    try:
        return SubmittedJob(**json.loads(folder.job.read_bytes()))
    except FileNotFoundError:
        return None

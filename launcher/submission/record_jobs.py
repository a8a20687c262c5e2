"""Record which job of Slurm has which pack."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial

from launcher.errors import SlurmError, SubmissionError
from launcher.experiment.experiment_folder import PackFolder
from launcher.job.pack import SubmittedJob, write_job
from launcher.os_errors import doing, sentence
from launcher.slurm import client
from trainers.run.backoff import retry

_RECORD_TIMEOUT_S = 20.0
"""Jobs wait for their record for a minute."""


def record_jobs(packs: Sequence[PackFolder], job_ids: Sequence[str]) -> None:
    """Record which job has which pack; a disk that has no room for that is waited for.

    Raises:
        SubmissionError: It cannot be written. The jobs were cancelled: they would wait for it.
    """
    for path, job_id in zip(packs, job_ids, strict=True):
        job = SubmittedJob(job_id=job_id, submitted=time.time())
        try:
            with doing(f"recording job {job_id}", path.job):
                retry(partial(write_job, path, job), timeout_s=_RECORD_TIMEOUT_S)
        except OSError as error:
            problem = f"the jobs {', '.join(job_ids)} cannot be recorded: {sentence(error)}"
            try:
                client.cancel(job_ids)
            except SlurmError as refusal:
                raise SubmissionError(f"{problem}; cancel them: {refusal}") from error
            raise SubmissionError(f"{problem}; they were cancelled") from error

"""What is to be expected of the packs that have runs to do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from attrs import frozen

from launcher import file_lock
from launcher.experiment.experiment_folder import PackFolder
from launcher.job.pack import read_pack
from launcher.job.submitted_job import SubmittedJob, read_job
from launcher.looking.job_outlook import (
    IN_SUBMISSION,
    NEVER_SUBMITTED,
    NO_JOB,
    JobOutlook,
    job_outlook,
)
from launcher.looking.job_watch import JobWatch
from launcher.slurm.queue_view import QueueView
from trainers.lease import is_live


@frozen(kw_only=True)
class PackOutlook:
    """A pack at one moment."""

    is_supervised: bool = False
    """Whether its supervisor lives."""
    job: JobOutlook = NO_JOB

    @property
    def is_expected(self) -> bool:
        """Whether its unfinished runs may be carried on without a new submission."""
        return self.is_supervised or self.job.is_expected


NOBODY = PackOutlook()
JUST_MADE = PackOutlook(job=IN_SUBMISSION)


def pack_outlooks(
    packs: Mapping[PackFolder, float],
    unfinished: Iterable[PackFolder],
    jobs: JobWatch,
    *,
    is_locked: bool,
) -> dict[PackFolder, PackOutlook]:
    """Look at packs; Slurm is asked only if one of the unfinished ones has a job of it.

    The view of the queue is taken first, then the job of each pack is read: a job that is not in
    the view has then been replaced since, or is gone.

    Args:
        packs: With the times of their file systems, see `trainers.lease.file_system_time`.
        unfinished: Those of them that have runs which are not over.
        is_locked: Whether the caller holds the lock of the experiment: nobody else submits then.
    """
    unfinished = set(unfinished)
    asks = any(pack.job.exists() for pack in unfinished)
    view = jobs.view() if asks else None
    supervised = {pack: is_live(pack.lease, now=now) for pack, now in packs.items()}
    found = {pack: read_job(pack) for pack in packs}
    outlooks = {
        pack: PackOutlook(
            is_supervised=supervised[pack],
            job=_job(pack, job, view if pack in unfinished else None, is_locked=is_locked),
        )
        for pack, job in found.items()
    }
    return outlooks | _with_last_words(outlooks, found, view, jobs)


def _job(
    pack: PackFolder, job: SubmittedJob | None, view: QueueView | None, *, is_locked: bool
) -> JobOutlook:
    """Of a pack that is over, only the name."""
    if job and view:
        return job_outlook(job, view)
    if job:
        return JobOutlook(phase="none", job_id=job.job_id)
    if not pack.manifest.exists() or read_pack(pack).slurm is None:
        return NO_JOB
    is_submitting = not is_locked and file_lock.is_held(pack.experiment.lock)
    return IN_SUBMISSION if is_submitting else NEVER_SUBMITTED


def _with_last_words(
    outlooks: Mapping[PackFolder, PackOutlook],
    found: Mapping[PackFolder, SubmittedJob | None],
    view: QueueView | None,
    jobs: JobWatch,
) -> dict[PackFolder, PackOutlook]:
    """Those of packs whose jobs are gone, with what accounting says about these."""
    gone = {
        pack: job
        for pack, job in found.items()
        if job and job.job_id and outlooks[pack].job.phase == "gone"
    }
    if not gone or view is None:
        return {}
    words = jobs.last_words(job.job_id for job in gone.values())
    return {
        pack: PackOutlook(
            is_supervised=outlooks[pack].is_supervised,
            job=job_outlook(job, view, last_word=words[job.job_id]),
        )
        for pack, job in gone.items()
    }

"""What is to be expected of the packs that have runs to do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum, auto

from attrs import frozen

from launcher import file_lock
from launcher.errors import SlurmError
from launcher.experiment.experiment_folder import PackFolder
from launcher.job.pack import SubmittedJob, read_job, read_pack
from launcher.slurm import client
from launcher.slurm.queue_cache import QueueSnapshot, queue_snapshot
from trainers.run.lease import is_live

SETTLING_S = 5.0
"""So much later than the submission, a view shows the job: clocks differ, and Slurm takes time."""
_HELD = "requeued held"
"""The end of Slurm's reason for keeping back a job whose launch has failed."""
SUBMITTING_S = 60.0
"""A job may have been submitted, and its id not be known yet, for so long."""


class JobPhase(StrEnum):
    """Where a job of the scheduler stands."""

    NONE = auto()
    """There is none."""
    QUEUED = auto()
    """It waits or runs."""
    HELD = auto()
    """It waits for somebody to release it, since a node could not start it."""
    GONE = auto()
    """It has left the queue."""
    UNKNOWN = auto()

    @property
    def is_expected(self) -> bool:
        """Whether the job may yet do something."""
        return self in (JobPhase.QUEUED, JobPhase.UNKNOWN)


@frozen(kw_only=True)
class JobStatus:
    """What is to be expected of a job."""

    phase: JobPhase
    job_id: str = ""
    job_state: str = ""
    """Slurm's word for it, such as PENDING; empty unless it is queued or held."""
    words: str = ""
    """The same for a person to read."""

    @property
    def is_expected(self) -> bool:
        """Whether it may yet do something."""
        return self.phase.is_expected


NO_JOB = JobStatus(phase=JobPhase.NONE)
IN_SUBMISSION = JobStatus(phase=JobPhase.UNKNOWN, words="its job is being submitted")
NEVER_SUBMITTED = JobStatus(phase=JobPhase.GONE, words="its submission was interrupted")


def job_status(job: SubmittedJob, view: QueueSnapshot, *, last_word: str = "") -> JobStatus:
    """Judge a job by a view that is older than what is known of its submission.

    Args:
        last_word: The state in which accounting has it; empty if it does not say.
    """
    if not job.job_id:
        is_recent = view.time < job.submitted + SUBMITTING_S
        return IN_SUBMISSION if is_recent else NEVER_SUBMITTED
    name = f"its job {job.job_id}"
    queued = view.jobs.get(job.job_id)
    if view.error is not None:
        words = f"whether {name} is in the queue is not known, as Slurm does not answer"
        return JobStatus(phase=JobPhase.UNKNOWN, job_id=job.job_id, words=f"{words}: {view.error}")
    if queued:
        words = _in_queue(name, queued.state, queued.reason)
        is_held = queued.state == "PENDING" and (queued.reason or "").endswith(_HELD)
        phase = JobPhase.HELD if is_held else JobPhase.QUEUED
        return JobStatus(phase=phase, job_id=job.job_id, job_state=queued.state, words=words)
    if view.time < job.submitted + SETTLING_S:
        words = f"{name} was submitted a moment ago"
        return JobStatus(phase=JobPhase.UNKNOWN, job_id=job.job_id, words=words)
    how = f" ({last_word})" if last_word else ""
    return JobStatus(
        phase=JobPhase.GONE, job_id=job.job_id, words=f"{name} has left the queue{how}"
    )


def _in_queue(name: str, state: str, reason: str | None) -> str:
    if state == "PENDING":
        return f"{name} waits in the queue{f': {reason}' if reason else ''}"
    if state == "RUNNING":
        return f"{name} is running"
    return f"{name} is in the queue: {state}"


MAX_AGE_S = 5.0


class JobWatch:
    """What Slurm says while one command lasts."""

    def __init__(self, max_age_s: float = MAX_AGE_S) -> None:
        self._max_age_s = max_age_s
        self._last_words: dict[str, str] = {}

    def view(self) -> QueueSnapshot:
        """The queue; every terminal of the user is shown the same for a few seconds."""
        return queue_snapshot(self._max_age_s)

    def last_words(self, job_ids: Iterable[str]) -> dict[str, str]:
        """In which states jobs have left the queue, by id; empty words where nobody says.

        Accounting is asked once about each job, and about all new ones with one call.
        """
        wanted = set(job_ids)
        new = wanted - self._last_words.keys()
        if new:
            self._last_words |= dict.fromkeys(new, "") | _recorded(new)
        return {job_id: self._last_words[job_id] for job_id in wanted}


def _recorded(job_ids: Iterable[str]) -> dict[str, str]:
    try:
        records = client.job_records(job_ids)
    except SlurmError:
        return {}
    return {job_id: attempts[-1].state for job_id, attempts in records.items()}


@frozen(kw_only=True)
class PackStatus:
    """A pack at one moment."""

    is_supervised: bool = False
    """Whether its supervisor lives."""
    job: JobStatus = NO_JOB

    @property
    def is_expected(self) -> bool:
        """Whether its unfinished runs may be carried on without a new submission."""
        return self.is_supervised or self.job.is_expected


NOBODY = PackStatus()
JUST_MADE = PackStatus(job=IN_SUBMISSION)


def pack_statuses(
    packs: Mapping[PackFolder, float],
    unfinished: Iterable[PackFolder],
    jobs: JobWatch,
    *,
    is_locked: bool,
) -> dict[PackFolder, PackStatus]:
    """Look at packs; Slurm is asked only if one of the unfinished ones has a job of it.

    The view of the queue is taken first, then the job of each pack is read: a job that is not in
    the view has then been replaced since, or is gone.

    Args:
        packs: With the times of their file systems, see `trainers.run.lease.file_system_time`.
        unfinished: Those of them that have runs which are not over.
        is_locked: Whether the caller holds the lock of the experiment: nobody else submits then.
    """
    unfinished = set(unfinished)
    asks = any(pack.job.exists() for pack in unfinished)
    view = jobs.view() if asks else None
    supervised = {pack: is_live(pack.lease, now=now) for pack, now in packs.items()}
    found = {pack: read_job(pack) for pack in packs}
    statuses = {
        pack: PackStatus(
            is_supervised=supervised[pack],
            job=_job(pack, job, view if pack in unfinished else None, is_locked=is_locked),
        )
        for pack, job in found.items()
    }
    return statuses | _with_last_words(statuses, found, view, jobs)


def _job(
    pack: PackFolder, job: SubmittedJob | None, view: QueueSnapshot | None, *, is_locked: bool
) -> JobStatus:
    """Of a pack that is over, only the name."""
    if job and view:
        return job_status(job, view)
    if job:
        return JobStatus(phase=JobPhase.NONE, job_id=job.job_id)
    if not pack.manifest.exists() or read_pack(pack).slurm is None:
        return NO_JOB
    is_submitting = not is_locked and file_lock.is_held(pack.experiment.lock)
    return IN_SUBMISSION if is_submitting else NEVER_SUBMITTED


def _with_last_words(
    statuses: Mapping[PackFolder, PackStatus],
    found: Mapping[PackFolder, SubmittedJob | None],
    view: QueueSnapshot | None,
    jobs: JobWatch,
) -> dict[PackFolder, PackStatus]:
    """Those of packs whose jobs are gone, with what accounting says about these."""
    gone = {
        pack: job
        for pack, job in found.items()
        if job and job.job_id and statuses[pack].job.phase == JobPhase.GONE
    }
    if not gone or view is None:
        return {}
    words = jobs.last_words(job.job_id for job in gone.values())
    return {
        pack: PackStatus(
            is_supervised=statuses[pack].is_supervised,
            job=job_status(job, view, last_word=words[job.job_id]),
        )
        for pack, job in gone.items()
    }

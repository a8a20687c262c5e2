"""The status of the jobs and supervisors of packs: whether unfinished runs may still progress."""

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

MAX_AGE_S = 5.0
"""How old a cached snapshot of the queue may be."""
QUEUE_LAG_S = 5.0
"""How long a new job may be missing in `squeue`: clocks differ, and Slurm takes time."""
SUBMISSION_TIMEOUT_S = 60.0
"""How long a submission may take until the id of its job is recorded."""
_HELD = "requeued held"
"""The end of Slurm's reason for holding a job whose launch has failed."""


class JobPhase(StrEnum):
    """Where a job is, from the scheduler's point of view."""

    NONE = auto()
    """There is no job."""
    QUEUED = auto()
    """It is pending or running."""
    HELD = auto()
    """It waits for a user to release it, since a node could not start it."""
    GONE = auto()
    """It has left the queue."""
    UNKNOWN = auto()

    @property
    def is_expected(self) -> bool:
        """Whether the job may still start or continue its runs."""
        return self in (JobPhase.QUEUED, JobPhase.UNKNOWN)


@frozen(kw_only=True)
class JobStatus:
    """The status of a job, as far as it is known."""

    phase: JobPhase
    job_id: str = ""
    job_state: str = ""
    """Slurm's state, such as PENDING; empty unless the job is queued or held."""
    description: str = ""
    """A description for a person to read."""

    @property
    def is_expected(self) -> bool:
        return self.phase.is_expected


NO_JOB = JobStatus(phase=JobPhase.NONE)
IN_SUBMISSION = JobStatus(phase=JobPhase.UNKNOWN, description="its job is being submitted")
NEVER_SUBMITTED = JobStatus(phase=JobPhase.GONE, description="its submission was interrupted")


def job_status(job: SubmittedJob, queue: QueueSnapshot, *, final_state: str = "") -> JobStatus:
    """Return the status of a job, from a snapshot of the queue that may predate its submission.

    Args:
        final_state: The job's state in the accounting records; empty if there is none.
    """
    if not job.job_id:
        is_recent = queue.time < job.submitted + SUBMISSION_TIMEOUT_S
        return IN_SUBMISSION if is_recent else NEVER_SUBMITTED
    name = f"its job {job.job_id}"
    queued = queue.jobs.get(job.job_id)
    if queue.error is not None:
        description = f"whether {name} is in the queue is not known, as Slurm does not answer"
        return JobStatus(
            phase=JobPhase.UNKNOWN, job_id=job.job_id, description=f"{description}: {queue.error}"
        )
    if queued:
        description = _in_queue(name, queued.state, queued.reason)
        is_held = queued.state == "PENDING" and (queued.reason or "").endswith(_HELD)
        phase = JobPhase.HELD if is_held else JobPhase.QUEUED
        return JobStatus(
            phase=phase, job_id=job.job_id, job_state=queued.state, description=description
        )
    if queue.time < job.submitted + QUEUE_LAG_S:
        description = f"{name} was submitted a moment ago"
        return JobStatus(phase=JobPhase.UNKNOWN, job_id=job.job_id, description=description)
    how = f" ({final_state})" if final_state else ""
    return JobStatus(
        phase=JobPhase.GONE, job_id=job.job_id, description=f"{name} has left the queue{how}"
    )


class JobPoller:
    """Polls Slurm for one command: caches the queue, and asks accounting only once about a job."""

    def __init__(self, max_age_s: float = MAX_AGE_S) -> None:
        self._max_age_s = max_age_s
        self._final_states: dict[str, str] = {}

    def queue(self) -> QueueSnapshot:
        """Return a snapshot of the queue; all commands of the user share one for a few seconds."""
        return queue_snapshot(self._max_age_s)

    def final_states(self, job_ids: Iterable[str]) -> dict[str, str]:
        """Return the accounting states of jobs that have left the queue, by id; "" if unknown.

        Jobs that were not asked about before share one call of `sacct`.
        """
        wanted = set(job_ids)
        new = wanted - self._final_states.keys()
        if new:
            self._final_states |= dict.fromkeys(new, "") | _recorded(new)
        return {job_id: self._final_states[job_id] for job_id in wanted}


@frozen(kw_only=True)
class PackStatus:
    """The status of a pack: its supervisor and its job."""

    is_supervised: bool = False
    """Whether its supervisor is alive."""
    job: JobStatus = NO_JOB

    @property
    def is_expected(self) -> bool:
        """Whether its unfinished runs may still continue without a new submission."""
        return self.is_supervised or self.job.is_expected


NO_PACK = PackStatus()
NEW_PACK = PackStatus(job=IN_SUBMISSION)


def pack_statuses(
    packs: Mapping[PackFolder, float],
    unfinished: Iterable[PackFolder],
    jobs: JobPoller,
    *,
    is_locked: bool,
) -> dict[PackFolder, PackStatus]:
    """Return the status of each pack; query Slurm only if an unfinished pack has a Slurm job.

    Args:
        packs: Each with the time of its file system, see `trainers.run.lease.file_system_time`.
        unfinished: The packs that have runs which are not over.
        is_locked: Whether the caller holds the experiment's lock, so that nobody else submits.
    """
    unfinished = set(unfinished)
    has_jobs = any(pack.job.exists() for pack in unfinished)
    # The queue first, then `job.json`: a job that is missing in the snapshot is then gone, or was
    # replaced; the other way round, a job that was submitted in between would be taken for gone.
    queue = jobs.queue() if has_jobs else None
    supervised = {pack: is_live(pack.lease, now=now) for pack, now in packs.items()}
    found = {pack: read_job(pack) for pack in packs}
    statuses = {
        pack: PackStatus(
            is_supervised=supervised[pack],
            job=_job(pack, job, queue if pack in unfinished else None, is_locked=is_locked),
        )
        for pack, job in found.items()
    }
    return statuses | _with_final_states(statuses, found, queue, jobs)


def _job(
    pack: PackFolder, job: SubmittedJob | None, queue: QueueSnapshot | None, *, is_locked: bool
) -> JobStatus:
    """Return the status of a pack's job; only its id if no snapshot of the queue is given."""
    if job and queue:
        return job_status(job, queue)
    if job:
        return JobStatus(phase=JobPhase.NONE, job_id=job.job_id)
    if not pack.manifest.exists() or read_pack(pack).slurm is None:
        return NO_JOB
    is_submitting = not is_locked and file_lock.is_held(pack.experiment.lock)
    return IN_SUBMISSION if is_submitting else NEVER_SUBMITTED


def _with_final_states(
    statuses: Mapping[PackFolder, PackStatus],
    found: Mapping[PackFolder, SubmittedJob | None],
    queue: QueueSnapshot | None,
    jobs: JobPoller,
) -> dict[PackFolder, PackStatus]:
    """Return the statuses of packs whose jobs are gone, with their final states."""
    gone = {
        pack: job
        for pack, job in found.items()
        if job and job.job_id and statuses[pack].job.phase == JobPhase.GONE
    }
    if not gone or queue is None:
        return {}
    states = jobs.final_states(job.job_id for job in gone.values())
    return {
        pack: PackStatus(
            is_supervised=statuses[pack].is_supervised,
            job=job_status(job, queue, final_state=states[job.job_id]),
        )
        for pack, job in gone.items()
    }


def _in_queue(name: str, state: str, reason: str | None) -> str:
    if state == "PENDING":
        return f"{name} waits in the queue{f': {reason}' if reason else ''}"
    if state == "RUNNING":
        return f"{name} is running"
    return f"{name} is in the queue: {state}"


def _recorded(job_ids: Iterable[str]) -> dict[str, str]:
    try:
        records = client.job_records(job_ids)
    except SlurmError:
        return {}
    return {job_id: attempts[-1].state for job_id, attempts in records.items()}

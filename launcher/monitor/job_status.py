"""The status of the jobs and supervisors of packs: whether unfinished runs may still progress."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum, auto
from functools import partial

from attrs import frozen

from launcher import file_lock
from launcher.experiment.experiment_folder import PackFolder
from launcher.job.pack import SubmittedJob, read_job, read_pack
from launcher.monitor.job_poller import JobPoller, owner_in_queue
from launcher.monitor.logs import job_output
from launcher.os_errors import PatientReader, sentence
from launcher.slurm.jobs import QueuedJob
from launcher.slurm.queue_cache import QueueSnapshot
from trainers.run.lease import is_live

QUEUE_LAG_S = 5.0
"""How long a new job may be missing in `squeue`: clocks differ, and Slurm takes time."""
SUBMISSION_TIMEOUT_S = 60.0
"""How long a submission may take until the id of its job is recorded."""
GOING_ON = ("PENDING", "RUNNING", "REQUEUED", "SUSPENDED", "RESIZING")
"""Accounting's states of jobs that are not over."""
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


def job_status(
    job: SubmittedJob,
    queue: QueueSnapshot,
    *,
    final_state: str = "",
    died_early: bool = False,
    is_others: bool = False,
) -> JobStatus:
    """Return the status of a job, from a snapshot of the queue that may predate its submission.

    Args:
        final_state: How it ended by the accounting records; empty if there is none.
        died_early: Whether it printed something, but its supervisor never began.
        is_others: Whether it is the job of a user whose jobs Slurm may hide from this one: then it
            has left the queue only if the records say so.
    """
    if not job.job_id:
        is_recent = queue.time < job.submitted + SUBMISSION_TIMEOUT_S
        before = queue.jobs.get(job.replaces)  # submits the next one as it ends, for minutes
        is_submitting = before is not None and not _is_held(before)
        return IN_SUBMISSION if is_recent or is_submitting else NEVER_SUBMITTED
    name = f"its job {job.job_id}"
    queued = queue.jobs.get(job.job_id)
    if queue.error is not None:
        description = f"whether {name} is in the queue is not known, as Slurm does not answer"
        return JobStatus(
            phase=JobPhase.UNKNOWN, job_id=job.job_id, description=f"{description}: {queue.error}"
        )
    if queued:
        description = _in_queue(name, queued.state, queued.reason)
        phase = JobPhase.HELD if _is_held(queued) else JobPhase.QUEUED
        return JobStatus(
            phase=phase, job_id=job.job_id, job_state=queued.state, description=description
        )
    if queue.time < job.submitted + QUEUE_LAG_S:
        description = f"{name} was submitted a moment ago"
        return JobStatus(phase=JobPhase.UNKNOWN, job_id=job.job_id, description=description)
    if is_others and (not final_state or final_state.startswith(GOING_ON)):
        whose = f" of {job.user}" if job.user else ", of another user,"
        description = f"whether {name}{whose} is in the queue is not known: Slurm does not show it"
        return JobStatus(phase=JobPhase.UNKNOWN, job_id=job.job_id, description=description)
    how = f" ({final_state})" if final_state else ""
    description = f"{name} has left the queue{how}"
    if died_early:
        description = f"{name} ended before it began{how}: see `launch logs`"
    return JobStatus(phase=JobPhase.GONE, job_id=job.job_id, description=description)


def _is_held(job: QueuedJob) -> bool:
    return job.state == "PENDING" and (job.reason or "").endswith(_HELD)


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
    reader: PatientReader,
    *,
    is_locked: bool,
) -> dict[PackFolder, PackStatus]:
    """Return the status of each pack; query Slurm only if an unfinished pack has a Slurm job.

    Args:
        packs: Each with the time of its file system, see `trainers.run.lease.file_system_time`.
        unfinished: The packs that have runs which are not over.
        is_locked: Whether the caller holds the experiment's lock, so that nobody else submits.
    """
    # The queue first, then `job.json`: a job that is missing in the snapshot is then gone, or was
    # replaced; the other way round, one submitted in between would seem gone.
    queues = _queues(list(unfinished), jobs, reader)

    def read(pack: PackFolder) -> tuple[PackStatus, SubmittedJob | None]:
        try:
            is_supervised = reader.read(partial(is_live, pack.lease, now=packs[pack]))
            job = reader.read(partial(read_job, pack))
            queue = queues.get(pack)
            if isinstance(queue, OSError):
                raise queue
            job_now = reader.read(partial(_job, pack, job, queue, is_locked=is_locked))
        except OSError as error:
            description = f"its job is not known: {sentence(error)}"
            return PackStatus(job=JobStatus(phase=JobPhase.UNKNOWN, description=description)), None
        except (ValueError, TypeError, KeyError) as error:
            what = f"{error} is missing" if isinstance(error, KeyError) else error
            description = f"the records in {pack.path} are damaged ({what})"
            return PackStatus(job=JobStatus(phase=JobPhase.GONE, description=description)), None
        return PackStatus(is_supervised=is_supervised, job=job_now), job

    found = dict(zip(packs, reader.read_each(read, list(packs)), strict=True))
    statuses = {pack: status for pack, (status, _) in found.items()}
    return statuses | _with_final_states(found, queues, jobs)


def _queues(
    packs: Sequence[PackFolder], jobs: JobPoller, reader: PatientReader
) -> dict[PackFolder, QueueSnapshot | OSError]:
    """Return a snapshot for each pack that has a job, one for all of an owner; or why not."""

    def owner_or_error(pack: PackFolder) -> int | OSError | None:
        try:
            return reader.read(partial(owner_in_queue, pack))
        except OSError as error:
            return error

    owners = dict(zip(packs, reader.read_each(owner_or_error, packs), strict=True))
    snapshots = {owner: jobs.queue(owner) for owner in {*owners.values()} if type(owner) is int}
    return {
        pack: owner if isinstance(owner, OSError) else snapshots[owner]
        for pack, owner in owners.items()
        if owner is not None
    }


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
    found: Mapping[PackFolder, tuple[PackStatus, SubmittedJob | None]],
    queues: Mapping[PackFolder, QueueSnapshot | OSError],
    jobs: JobPoller,
) -> dict[PackFolder, PackStatus]:
    """Return the statuses of packs whose jobs are gone, with their final states."""
    gone = {
        pack: (status, job, queue)
        for pack, (status, job) in found.items()
        if job and job.job_id and status.job.phase == JobPhase.GONE
        if isinstance(queue := queues.get(pack), QueueSnapshot)
    }
    if not gone:
        return {}
    states = jobs.final_states(job.job_id for _, job, _ in gone.values())
    return {
        pack: PackStatus(
            is_supervised=status.is_supervised,
            job=job_status(
                job,
                queue,
                final_state=states[job.job_id],
                died_early=_died_early(pack, job),
                is_others=_is_others(pack, job),
            ),
        )
        for pack, (status, job, queue) in gone.items()
    }


def _is_others(pack: PackFolder, job: SubmittedJob) -> bool:
    try:
        owner = pack.job.stat().st_uid if job.uid is None else job.uid
    except OSError:
        return True
    return owner != os.getuid() != 0  # root sees all jobs


def _died_early(pack: PackFolder, job: SubmittedJob) -> bool:
    try:
        return not pack.events.exists() and job_output(pack, job.job_id) is not None
    except OSError:
        return False


def _in_queue(name: str, state: str, reason: str | None) -> str:
    if state == "PENDING":
        return f"{name} waits in the queue{f': {reason}' if reason else ''}"
    if state == "RUNNING":
        return f"{name} is running"
    return f"{name} is in the queue: {state}"

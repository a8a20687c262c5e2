"""Submit packs again whose jobs are gone, though some of their runs are neither over nor cancelled.

It is what their jobs would have done: the same members, code, options of Slurm and retry budgets.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import attrs
from attrs import frozen

from launcher import file_lock
from launcher.errors import LauncherError, LockHeldError, SlurmError
from launcher.experiment.experiment_folder import ExperimentFolder, PackFolder
from launcher.job.pack import (
    Pack,
    PackEventKind,
    SlurmTerms,
    append_pack_event,
    owner_of,
    read_job,
    read_pack,
    read_pack_events,
)
from launcher.job.pack_job import run_pack
from launcher.job.resubmit import resubmit
from launcher.job.unfinished_members import unfinished
from launcher.monitor.job_poller import JobPoller
from launcher.monitor.job_status import GOING_ON
from launcher.monitor.status import ObservedRun, RunStatus, observe
from launcher.notify.notices import note_submitted
from launcher.os_errors import doing, problem_of
from launcher.slurm import client
from trainers.errors import TrainerError
from trainers.run.run_folder import RunFolder
from trainers.run.run_state import Cause, Status, read_state, write_state

_logger = logging.getLogger(__name__)

_LOCK_TIMEOUT_S = 60.0
"""How long to wait for a submission of the experiment to end."""
_PAUSE_S = 0.05
"""After a submission: time for a submission that waits to take the lock, which it polls."""


@frozen(kw_only=True)
class Healing:
    """What healing a pack came to."""

    experiment: str
    pack: str
    runs: tuple[str, ...]
    """Those that are to go on."""
    job_id: str
    """Of the new job; empty if there is none."""
    outcome: str
    failed: bool = False
    """Whether the pack was to be submitted again, and was not; `outcome` says why."""


def heal_runs(runs: Iterable[RunFolder]) -> list[Healing]:
    """Submit the packs of runs again that wait for nothing; the others are left alone.

    A job that was cancelled stays so, also one that may have been as far as Slurm's records tell,
    and so does one that Slurm may still know: while Slurm does not answer, nothing is submitted.

    Raises:
        LockHeldError: A submission of the experiment takes too long.
        OSError: The experiment's folder cannot be written.
    """
    by_experiment: dict[ExperimentFolder, list[RunFolder]] = {}
    for run in runs:
        by_experiment.setdefault(ExperimentFolder.of_run(run), []).append(run)
    healed: list[Healing] = []
    for experiment, theirs in by_experiment.items():
        with doing(f"healing the experiment {experiment.name}", experiment.path):
            healed += _heal(experiment, theirs)
    return healed


def _heal(experiment: ExperimentFolder, runs: Sequence[RunFolder]) -> list[Healing]:
    jobs = JobPoller(max_age_s=0)
    packs: dict[PackFolder, ObservedRun] = {}
    with file_lock.hold(experiment.lock, timeout_s=_LOCK_TIMEOUT_S):
        observed = observe(runs, jobs=jobs, is_locked=True)
    for seen in observed:
        status = seen.status
        if status.state == Status.WAITING and not status.is_expected and status.pack:
            packs.setdefault(experiment.pack(status.pack), seen)
    job_ids = [seen.status.job_id for seen in packs.values() if seen.status.job_id]
    jobs.final_states(job_ids)  # in one call
    healed = []
    for pack, seen in packs.items():
        # Others may have submitted the pack or its runs since it was seen: it is read again.
        try:
            with file_lock.hold(experiment.lock, timeout_s=_LOCK_TIMEOUT_S):
                healing = _heal_pack(pack, seen, jobs)
        except LockHeldError as error:
            healed.append(_not_healed(pack, seen, error))
            break  # of the other packs it is the same lock
        if healing is not None:
            healed.append(healing)
            if healing.job_id or healing.failed:
                time.sleep(_PAUSE_S)
    return healed


def _not_healed(folder: PackFolder, seen: ObservedRun, error: LockHeldError) -> Healing:
    return Healing(
        experiment=folder.experiment.name,
        pack=folder.name,
        runs=(seen.status.name,),
        job_id="",
        outcome=f"not submitted again, nor any pack after it: {error}",
        failed=True,
    )


def _heal_pack(folder: PackFolder, seen: ObservedRun, jobs: JobPoller) -> Healing | None:
    """Submit a pack again, unless that is not for this command to do.

    None if it has no use for a job: it is a local one, or its runs are over or to be cancelled.
    """
    names: tuple[str, ...] = ()
    job_id, failed = "", False
    try:
        pack = read_pack(folder)
        names = _left(folder, pack)
        if pack.slurm is None or not names:
            return None
        job_id, outcome = _submit(folder, pack.slurm, names, seen.status, jobs)
    except (LauncherError, TrainerError, OSError, ValueError, TypeError, KeyError) as error:
        outcome, failed = f"not submitted again: {problem_of(error)}", True
    return Healing(
        experiment=folder.experiment.name,
        pack=folder.name,
        runs=names,
        job_id=job_id,
        outcome=outcome,
        failed=failed,
    )


def _submit(
    folder: PackFolder,
    terms: SlurmTerms,
    names: Sequence[str],
    status: RunStatus,
    jobs: JobPoller,
) -> tuple[str, str]:
    """Submit a pack, if nothing speaks against it; return the new job's id, and what came of it."""
    job = read_job(folder)
    last = status.job_id or ""  # also one that nobody has recorded
    old = last or (job.replaces if job else "")
    is_held = bool(last and status.job_state)  # by Slurm, and has nothing left to do
    if job and job.job_id not in ("", last):
        return "", f"left alone: it has the job {job.job_id} by now"
    owner = owner_of(folder)
    reason = reason_to_leave(
        owner=owner.uid if owner else (folder.job if job else folder.manifest).stat().st_uid,
        end=_end_of(last, terms, jobs) if last and not is_held else "",
        events=list(read_pack_events(folder)),
    )
    if reason:
        return "", reason
    job_id = resubmit(folder, terms, old, run_pack)
    if job_id is None:
        return "", "left alone: it has another job by now"
    _note(folder, names, job_id, held_job=last if is_held else None)
    return job_id, f"submitted again as job {job_id}{f', for {old}' if old else ''}"


def _end_of(job_id: str, terms: SlurmTerms, jobs: JobPoller) -> str | None:
    """Return how a job that has left the queue ended; None if nobody knows that any more.

    Raises:
        SlurmError: Slurm does not answer.
    """
    end = ""
    try:
        end = jobs.known_final_state(job_id)
    except SlurmError:
        if terms.accounting:
            raise
    if end and not end.startswith(GOING_ON):
        return end
    # There is no accounting, or it was away when the job ended: the controller knows for a while.
    details = client.job_details(job_id)
    return details.state if details and not details.state.startswith(GOING_ON) else None


def reason_to_leave(*, owner: int, end: str | None, events: Iterable[Mapping[str, Any]]) -> str:
    """Return why a pack without a job is left alone; empty if it is to be submitted again.

    Args:
        owner: The user who has submitted it.
        end: How its job ended by Slurm's records; None if that is not known, empty if it had none.
        events: Those of the pack, oldest first.
    """
    if owner != os.getuid():
        return f"left alone: it was submitted by user {owner}, who may submit it again"
    last_stop = None
    for event in events:
        if event["event"] in (PackEventKind.STARTED, PackEventKind.STOPPING):
            last_stop = event.get("cause")
    if (end or "").startswith("CANCELLED") or last_stop == Cause.CANCELLED:
        return "left alone: its job was cancelled; `launch resubmit --state waiting` resumes it"
    if end is None:
        why = "its job may have been cancelled, as Slurm has no record of its end"
        return f"left alone: {why}; `launch submit` starts it again"
    return ""


def _left(folder: PackFolder, pack: Pack) -> tuple[str, ...]:
    return tuple(
        member.name
        for member in unfinished(folder, pack.members)
        if not folder.experiment.run(member.name).cancel_request.exists()
    )


def _note(folder: PackFolder, names: Sequence[str], job_id: str, *, held_job: str | None) -> None:
    """Record that a pack has a new job, and cancel the one before if Slurm holds it.

    What fails here changes nothing: the new job will find its pack.
    """
    try:
        append_pack_event(folder, PackEventKind.RESUBMITTED, job=job_id)
        note_submitted(folder.experiment, names)
        for name in names:
            _forget_why_it_waits(folder.experiment.run(name))
        if held_job:
            client.cancel([held_job], only_waiting=True)
    except (OSError, LauncherError, TrainerError) as error:
        _logger.warning("%s has the new job %s, but: %s", folder.name, job_id, problem_of(error))


def _forget_why_it_waits(run: RunFolder) -> None:
    """Attempts that are not counted yet are left to the supervisor of the new job."""
    with file_lock.hold(run.state_lock):
        state = read_state(run)
        if state.status == Status.WAITING:
            write_state(run, attrs.evolve(state, reason=""))

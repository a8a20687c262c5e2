"""Submit a pack again as a new job, with the options of the job that it had."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import attrs

from launcher.errors import LauncherError, UnknownSubmissionError
from launcher.experiment.experiment_folder import PackFolder
from launcher.job.bad_nodes import excluded_by, with_exclude
from launcher.job.pack import SlurmTerms, SubmittedJob, patiently, read_job, write_job
from launcher.job.stop_cause import is_ending
from launcher.slurm import client
from launcher.slurm.array_files import find_jobs
from launcher.slurm.submit import submit_array

logger = logging.getLogger(__name__)

_FIRST_JOB_ONLY = ("dependency", "begin", "hold")
"""Options of sbatch that say when a pack may start at all: it has started, or was to start."""
_ENDED = (
    "BOOT_FAIL",
    "CANCELLED",
    "COMPLETED",
    "DEADLINE",
    "FAILED",
    "NODE_FAIL",
    "OUT_OF_MEMORY",
    "PREEMPTED",
    "REVOKED",
    "TIMEOUT",
)
"""States of jobs that have ended for good."""


def resubmit(
    folder: PackFolder,
    terms: SlurmTerms,
    replaces: str,
    entry_point: Callable[[str], None],
    *,
    is_ending: bool = False,
) -> str | None:
    """Submit a pack in place of its job; return the new job's id, None if an earlier call did so.

    Args:
        replaces: The job that has the pack so far.
        entry_point: The function that the new job calls, see `submit_array`.
        is_ending: That job is being killed, and cannot be requeued: the new one starts after it.

    Raises:
        UnknownSubmissionError: Slurm may have taken it; a further call finds out.
        LauncherError: Slurm refused, or does not answer; the pack has its job as before.
        OSError: The pack's files cannot be read or written.
    """
    before = patiently(partial(read_job, folder))
    if before and before.job_id and before.is_replaced(replaces):
        return None
    if before and not before.job_id and (found := _found(folder, replaces)):
        patiently(partial(write_job, folder, attrs.evolve(before, job_id=found)))
        return None  # Slurm had taken it without a word
    resubmissions = before.resubmissions + 1 if before else 1
    job = SubmittedJob(
        job_id="", submitted=time.time(), resubmissions=resubmissions, replaces=replaces
    )
    patiently(partial(write_job, folder, job))  # before the submission: it may start at once
    parameters = with_exclude(
        _again(terms.parameters, replaces if is_ending else ""),
        excluded_by(folder.experiment, terms),
    )
    try:
        (job_id,) = submit_array(folder.experiment, [folder], parameters, entry_point)
    except UnknownSubmissionError:
        raise  # the record without an id stays: the next call looks for the job
    except LauncherError:
        if before:
            patiently(partial(write_job, folder, before))  # it still has the pack
        raise
    patiently(partial(write_job, folder, attrs.evolve(job, job_id=job_id)))
    return job_id


def settled(folder: PackFolder, job: SubmittedJob | None, starts: str) -> SubmittedJob | None:
    """Return the record of a pack's job to a job that starts, and that was perhaps being replaced.

    A submission that was cut short has left no id. If Slurm has the new job, the pack is its; if
    not, it is still that of the job that starts. The same if that is not known: should there be a
    new job, it finds that the pack has another one, and ends.

    Args:
        job: The record as it is.
        starts: The job that starts.

    Raises:
        OSError: The record cannot be written.
    """
    if job is None or job.job_id or job.replaces != starts:
        return job
    try:
        found = _found(folder, starts)
    except (LauncherError, OSError) as error:
        logger.warning("whether another job was submitted is not known: %s", error)
        found = None
    if found is None:
        return attrs.evolve(job, replaces="")
    job = attrs.evolve(job, job_id=found)
    patiently(partial(write_job, folder, job))
    return job


def _found(folder: PackFolder, replaces: str) -> str | None:
    """Return the job that an earlier call has submitted without learning its id, if any.

    Not one that is over: it has ended before it could record itself.
    """
    found = find_jobs(folder.experiment, [folder.name]).get(folder.name)
    if found in (None, replaces):
        return None
    details = client.job_details(found)  # the queue shows jobs that have just ended, too
    is_over = details is None or details.state in _ENDED or is_ending(details, restarts=0)
    return None if is_over else found


def _again(parameters: dict[str, Any], after: str) -> dict[str, Any]:
    """Return the parameters of a further job, which starts after another one has ended, if any."""
    before = parameters.get("additional_parameters", {})
    options = {name: value for name, value in before.items() if name not in _FIRST_JOB_ONLY}
    if after:
        options["dependency"] = f"afterany:{after}"
    return {**parameters, "additional_parameters": options}

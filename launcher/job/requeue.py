"""Put the job of a pack back into the queue."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Sequence

import attrs

from launcher.errors import LauncherError
from launcher.experiment.experiment_folder import PackFolder
from launcher.job.node import ThisNode
from launcher.job.pack import (
    Member,
    PackEventKind,
    SlurmTerms,
    SubmittedJob,
    append_pack_event,
    read_job,
    write_job,
)
from launcher.job.stop_cause import is_cancelled
from launcher.job.unfinished_members import settle
from launcher.slurm import client
from launcher.slurm.submit import submit_array
from trainers.run.run_state import Status

logger = logging.getLogger(__name__)


def requeue_pack(
    folder: PackFolder,
    terms: SlurmTerms,
    node: ThisNode,
    left: Sequence[Member],
    entry_point: Callable[[str], None],
) -> bool:
    """Requeue the job; where that is refused, submit the pack as a new one. Whether it comes back.

    If it does not, the members that are left are told why: nobody can bring it back, or somebody
    has cancelled it, and requeueing would undo that.

    Args:
        entry_point: What a new job calls, see `submit_array`.
    """
    try:
        if not _is_cancelled(terms, node):
            _requeue(folder, terms, node.job, entry_point)
            return True
        status, reason = Status.CANCELLED, "its job was cancelled"
    except LauncherError as error:
        status = Status.WAITING
        reason = f"its job could not be brought back: {error}; submit again to carry on"
    settle(folder, left, status=status, reason=reason)
    append_pack_event(folder, PackEventKind.ENDED, why=reason)
    return False


def _requeue(
    folder: PackFolder, terms: SlurmTerms, job_id: str, entry_point: Callable[[str], None]
) -> None:
    refusal = "its site does not let jobs be requeued"
    if terms.may_requeue:
        append_pack_event(folder, PackEventKind.REQUEUEING, job=job_id)
        try:
            client.requeue(job_id)
        except LauncherError as error:
            refusal = str(error)
        else:
            return
    if _is_pending(job_id):  # Slurm has requeued it by itself
        return
    logger.warning("%s: submitted anew, because %s", folder.name, refusal)
    _resubmit(folder, terms, job_id, entry_point)


def _is_pending(job_id: str) -> bool:
    job = client.queued_jobs().get(job_id)
    return job is not None and job.state == "PENDING"


def _is_cancelled(terms: SlurmTerms, node: ThisNode) -> bool:
    try:
        details = client.job_details(node.job)
    except LauncherError as error:
        logger.warning("whether the job was cancelled is not known: %s", error)
        return False
    return details is not None and is_cancelled(
        details, restarts=node.restarts, time_limit_s=terms.time_limit_s
    )


def _resubmit(
    folder: PackFolder, terms: SlurmTerms, replaces: str, entry_point: Callable[[str], None]
) -> None:
    """The new job counts as a later start before it exists: it may begin at once."""
    before = read_job(folder)
    resubmissions = before.resubmissions + 1 if before else 1
    job = SubmittedJob(
        job_id="", submitted=time.time(), resubmissions=resubmissions, replaces=replaces
    )
    write_job(folder, job)
    for name in filter(client.is_of_job, list(os.environ)):
        del os.environ[name]
    (job_id,) = submit_array(folder.experiment, [folder], terms.parameters, entry_point)
    write_job(folder, attrs.evolve(job, job_id=job_id))
    append_pack_event(folder, PackEventKind.RESUBMITTED, job=job_id)

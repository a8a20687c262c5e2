"""Requeue the job of a pack, or submit the pack again where Slurm refuses."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Sequence

import attrs

from launcher.errors import LauncherError
from launcher.experiment.experiment_folder import PackFolder
from launcher.job.bad_nodes import exclude_list, excluded_by, with_exclude
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
from launcher.job.unfinished_members import mark_ended
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
    *,
    as_new_job: bool = False,
) -> bool:
    """Requeue the job or, where that is refused, resubmit the pack; return whether it runs again.

    If it does not, the reason is recorded for the unfinished members: Slurm refused, or the job was
    cancelled, which a requeue would undo.

    Args:
        left: The unfinished members.
        entry_point: The function that a new job calls, see `submit_array`.
        as_new_job: Do not requeue: Slurm has started this job on a node that it must not use.
    """
    try:
        if not _is_cancelled(terms, node):
            if as_new_job:
                _resubmit(folder, terms, node.job, entry_point)
            else:
                _requeue(folder, terms, node.job, entry_point)
            return True
        status, reason = Status.CANCELLED, "its job was cancelled"
    except LauncherError as error:
        status = Status.WAITING
        reason = f"its job could not be requeued: {error}; submit again to resume"
    mark_ended(folder, left, status=status, reason=reason)
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
            _keep_from_bad_nodes(folder, terms, job_id)
            return
    # Without a grace Slurm requeues a preempted job itself, before it is asked: that is success.
    if _is_pending(job_id):
        return
    logger.warning("%s: submitted again as a new job, because %s", folder.name, refusal)
    _resubmit(folder, terms, job_id, entry_point)


def _keep_from_bad_nodes(folder: PackFolder, terms: SlurmTerms, job_id: str) -> None:
    """Exclude bad nodes from a job that was requeued; it keeps its old list otherwise.

    What is refused here is made up for at the next start: see `as_new_job`.
    """
    if bad := excluded_by(folder.experiment, terms):
        nodes = exclude_list(terms.parameters, bad)
        logger.warning("job %s is kept from %s", job_id, nodes)
        try:
            client.exclude_nodes(job_id, nodes)
        except LauncherError as error:
            logger.warning("%s", error)


def _is_pending(job_id: str) -> bool:
    job = client.queued_jobs().get(job_id)
    return job is not None and job.state == "PENDING"


def _is_cancelled(terms: SlurmTerms, node: ThisNode) -> bool:
    try:
        details = client.job_details(node.job)
    except LauncherError as error:
        logger.warning("could not find out whether the job was cancelled: %s", error)
        return False
    return details is not None and is_cancelled(
        details, restarts=node.restarts, time_limit_s=terms.time_limit_s
    )


def _resubmit(
    folder: PackFolder, terms: SlurmTerms, replaces: str, entry_point: Callable[[str], None]
) -> None:
    before = read_job(folder)
    resubmissions = before.resubmissions + 1 if before else 1
    job = SubmittedJob(
        job_id="", submitted=time.time(), resubmissions=resubmissions, replaces=replaces
    )
    write_job(folder, job)  # before the submission: the new job may start at once
    # sbatch reads options from the environment, and this one describes the job that ends.
    for name in filter(client.is_of_job, list(os.environ)):
        del os.environ[name]
    parameters = with_exclude(terms.parameters, excluded_by(folder.experiment, terms))
    (job_id,) = submit_array(folder.experiment, [folder], parameters, entry_point)
    write_job(folder, attrs.evolve(job, job_id=job_id))
    append_pack_event(folder, PackEventKind.RESUBMITTED, job=job_id)

"""Requeue the job of a pack, or submit the pack again where Slurm refuses."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from functools import partial

import attrs

from launcher.errors import LauncherError, SlurmError, UnknownSubmissionError, is_slurm_away
from launcher.experiment.experiment_folder import PackFolder
from launcher.job.bad_nodes import exclude_list, excluded_by, with_exclude
from launcher.job.bookkeeping import PackRecords
from launcher.job.node import ThisNode
from launcher.job.pack import (
    Member,
    PackEventKind,
    SlurmTerms,
    SubmittedJob,
    patiently,
    read_job,
    write_job,
)
from launcher.job.stop_cause import is_cancelled
from launcher.job.unfinished_members import mark_ended
from launcher.notify.run_ends import NOT_REQUEUED
from launcher.slurm import client
from launcher.slurm.array_files import find_jobs
from launcher.slurm.jobs import JobDetails
from launcher.slurm.submit import submit_array
from trainers.run.backoff import retry
from trainers.run.run_state import Status

logger = logging.getLogger(__name__)

PATIENCE_S = 600.0
"""How long to go on asking a controller that does not answer, as while it restarts."""

_EXCLUDE_TIMEOUT_S = 3.0
"""After a requeue; the processes of the job are killed soon."""


def requeue_pack(
    folder: PackFolder,
    records: PackRecords,
    terms: SlurmTerms,
    node: ThisNode,
    left: Sequence[Member],
    entry_point: Callable[[str], None],
    *,
    as_new_job: bool = False,
) -> bool:
    """Requeue the job or, where that is refused, resubmit the pack; return whether it runs again.

    It is safe to call this twice, as the batch script does when the first call was killed. If the
    job does not run again, the reason is recorded for the unfinished members: Slurm refused or did
    not answer, or the job was cancelled, which a requeue would undo.

    Args:
        left: The unfinished members.
        entry_point: The function that a new job calls, see `submit_array`.
        as_new_job: Rather not requeue: Slurm has started this job on a node that it must not use.
    """
    try:
        if retry(
            partial(_requeue, folder, records, terms, node, entry_point, as_new_job),
            timeout_s=PATIENCE_S,
            passes=lambda error: isinstance(error, LauncherError) and is_slurm_away(error),
            on_failure=lambda error, _: logger.warning("the requeue is tried again: %s", error),
        ):
            return True
        status, reason = Status.CANCELLED, "its job was cancelled"
    except (LauncherError, OSError, ValueError) as error:
        status = Status.WAITING
        reason = f"{NOT_REQUEUED}{error}; submit again to resume"
    mark_ended(folder, left, status=status, reason=reason)
    records.put_event(PackEventKind.ENDED, why=reason)
    return False


def end_for_good(node: ThisNode) -> None:
    """Have the job not start again: Slurm 24.05 and later restart one that was ever preempted."""
    try:
        client.forbid_requeue(node.job)
    except LauncherError as error:
        logger.warning("the job may start once more, and will find nothing to do: %s", error)


def _requeue(
    folder: PackFolder,
    records: PackRecords,
    terms: SlurmTerms,
    node: ThisNode,
    entry_point: Callable[[str], None],
    as_new_job: bool,
) -> bool:
    """Try once; return False if the job was cancelled.

    Raises:
        LauncherError: Slurm does not answer, or refused to take the pack as a new job, too.
    """
    details = _details(node)
    if _is_back(details, node):
        _keep_from_bad_nodes(folder, terms, node.job)
        return True
    if details and is_cancelled(details, restarts=node.restarts, time_limit_s=terms.time_limit_s):
        return False
    if as_new_job:
        logger.warning("%s: submitted again, as it was started on a bad node", folder.name)
        try:
            _resubmit(folder, records, terms, node.job, entry_point)
            return True
        except LauncherError as error:
            if is_slurm_away(error) or not terms.may_requeue:
                raise
            logger.warning("requeued instead, as that was refused: %s", error)
    refusal = "its site does not let jobs be requeued"
    if terms.may_requeue:
        records.put_event(PackEventKind.REQUEUEING, job=node.job)
        try:
            client.requeue(node.job)
        except SlurmError as error:
            # The signal that follows a requeue may end `scontrol` before it has said "done".
            if _is_back(_details(node), node):
                _keep_from_bad_nodes(folder, terms, node.job)
                return True
            if is_slurm_away(error):
                raise
            refusal = str(error)
        else:
            _keep_from_bad_nodes(folder, terms, node.job)
            return True
    logger.warning("%s: submitted again as a new job, because %s", folder.name, refusal)
    _resubmit(folder, records, terms, node.job, entry_point)
    return True


def _keep_from_bad_nodes(folder: PackFolder, terms: SlurmTerms, job_id: str) -> None:
    """Exclude bad nodes from a job that was requeued; it keeps its old list otherwise.

    What is refused here is made up for at the next start: see `as_new_job`.
    """
    if bad := excluded_by(folder.experiment, terms):
        nodes = exclude_list(terms.parameters, bad)
        logger.warning("job %s is kept from %s", job_id, nodes)
        try:
            # The signal that follows a requeue may end `scontrol`, too.
            retry(
                partial(client.exclude_nodes, job_id, nodes),
                timeout_s=_EXCLUDE_TIMEOUT_S,
                passes=lambda error: isinstance(error, LauncherError) and is_slurm_away(error),
            )
        except LauncherError as error:
            logger.warning("%s", error)


def _details(node: ThisNode) -> JobDetails | None:
    try:
        return client.job_details(node.job, timeout_s=client.SHORT_TIMEOUT_S)
    except SlurmError as error:
        if is_slurm_away(error):
            raise
        logger.warning("could not find out how the job stands: %s", error)
        return None


def _is_back(details: JobDetails | None, node: ThisNode) -> bool:
    """Return whether the job is in the queue again, or about to be.

    Without a grace Slurm requeues a preempted job itself, before it is asked. Until its processes
    have exited such a job is COMPLETING, and counts as restarted.
    """
    return details is not None and (details.state == "PENDING" or details.restarts > node.restarts)


def _resubmit(
    folder: PackFolder,
    records: PackRecords,
    terms: SlurmTerms,
    replaces: str,
    entry_point: Callable[[str], None],
) -> None:
    before = patiently(partial(read_job, folder))
    if before and before.job_id and before.is_replaced(replaces):
        return  # by an earlier call
    if before and not before.job_id and (found := _found(folder, replaces)):
        patiently(partial(write_job, folder, attrs.evolve(before, job_id=found)))
        return  # Slurm had taken it without a word
    resubmissions = before.resubmissions + 1 if before else 1
    job = SubmittedJob(
        job_id="", submitted=time.time(), resubmissions=resubmissions, replaces=replaces
    )
    patiently(partial(write_job, folder, job))  # before the submission: it may start at once
    parameters = with_exclude(terms.parameters, excluded_by(folder.experiment, terms))
    try:
        (job_id,) = submit_array(folder.experiment, [folder], parameters, entry_point)
    except UnknownSubmissionError:
        raise  # the record without an id stays: the next call looks for the job
    except LauncherError:
        if before:
            patiently(partial(write_job, folder, before))  # it still has the pack
        raise
    patiently(partial(write_job, folder, attrs.evolve(job, job_id=job_id)))
    records.put_event(PackEventKind.RESUBMITTED, job=job_id)


def _found(folder: PackFolder, replaces: str) -> str | None:
    """Return the job that an earlier call has submitted without learning its id, if any."""
    found = find_jobs(folder.experiment, [folder.name]).get(folder.name)
    return None if found == replaces else found

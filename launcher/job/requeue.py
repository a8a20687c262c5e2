"""Requeue the job of a pack, or submit the pack again where Slurm refuses."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial

from launcher.errors import LauncherError, SlurmError, is_slurm_away
from launcher.experiment.experiment_folder import PackFolder
from launcher.job.bad_nodes import exclude_list, excluded_by
from launcher.job.bookkeeping import PackRecords
from launcher.job.node import ThisNode
from launcher.job.own_job import own_details
from launcher.job.pack import Member, PackEventKind, SlurmTerms
from launcher.job.resubmit import resubmit
from launcher.job.stop_cause import is_cancelled, is_ending
from launcher.job.unfinished_members import mark_ended
from launcher.notify.run_ends import NOT_REQUEUED
from launcher.slurm import client
from launcher.slurm.jobs import JobDetails
from trainers.run.backoff import retry
from trainers.run.failure_class import is_of_this_moment
from trainers.run.run_state import Status

logger = logging.getLogger(__name__)

PATIENCE_S = 600.0
"""How long to go on asking a controller that does not answer, as while it restarts, and to wait for
a disk that has no room for the record of a new job."""
REFUSAL_PATIENCE_S = 30.0
"""How long to ask again after a refusal, such as of a limit on jobs that others use up."""

_EXCLUDE_TIMEOUT_S = 3.0
"""After a requeue; the processes of the job are killed soon."""


class JobRequeue:
    """The way of a pack's job back into the queue.

    It is safe to requeue twice, as the batch script does when the supervisor was killed meanwhile.
    """

    def __init__(
        self,
        folder: PackFolder,
        records: PackRecords,
        terms: SlurmTerms,
        node: ThisNode,
        entry_point: Callable[[str], None],
    ) -> None:
        """
        Args:
            entry_point: The function that a new job calls, see `submit_array`.
        """
        self._folder = folder
        self._records = records
        self._terms = terms
        self._node = node
        self._entry_point = entry_point
        self._lock = threading.Lock()
        self._has_asked = False
        self.problem = ""
        """Why the job is not in the queue again though it should be; empty if it is, or if it was
        cancelled."""

    def requeue(self, left: Sequence[Member], *, as_new_job: bool = False) -> bool:
        """Requeue the job or, where that is refused, resubmit the pack; return whether it is back.

        If the job was cancelled, which a requeue would undo, that is recorded for the unfinished
        members. Otherwise there is a `problem`: try again later, or `give_up`.

        Args:
            left: The unfinished members.
            as_new_job: Rather not requeue: Slurm has started this job on a node that it must not
                use.
        """
        try:
            if self._requeue_patiently(as_new_job):
                return True
        except (LauncherError, OSError, ValueError) as error:
            logger.error("the job is not requeued: %s", error)
            self.problem = str(error)
            return False
        self._note_end(left, Status.CANCELLED, "its job was cancelled")
        self.end_for_good()
        return False

    def give_up(self, left: Sequence[Member]) -> None:
        """Record for the unfinished members that nothing starts them any more, and why."""
        reason = f"{NOT_REQUEUED}{self.problem}; submit again to resume"
        self._note_end(left, Status.WAITING, reason)

    def requeue_early(self, details: JobDetails) -> None:
        """Requeue before the members have ended: Slurm ends the job for good, and kills it soon.

        What fails here is tried again by `requeue`.

        Args:
            details: The job as it is now, which saves asking once more.
        """
        try:
            self._requeue_patiently(as_new_job=False, details=details)
        except (LauncherError, OSError, ValueError) as error:
            logger.warning("not requeued before the members have ended: %s", error)

    def end_for_good(self) -> None:
        """Have the job not start again: Slurm 24.05 and later restart one that was preempted."""
        if not self._terms.may_requeue:
            return
        try:
            client.forbid_requeue(self._node.job)
        except LauncherError as error:
            logger.warning("the job may start once more, and will find nothing to do: %s", error)

    def _note_end(self, left: Sequence[Member], status: Status, reason: str) -> None:
        mark_ended(self._folder, left, status=status, reason=reason)
        self._records.put_event(PackEventKind.ENDED, why=reason)

    def _requeue_patiently(self, as_new_job: bool, details: JobDetails | None = None) -> bool:
        began = time.monotonic()
        known = [details] if details else []

        def passes(error: Exception) -> bool:
            return _passes(error) or time.monotonic() < began + REFUSAL_PATIENCE_S

        with self._lock:
            return retry(
                lambda: self._requeue_once(as_new_job, known.pop() if known else self._details()),
                timeout_s=PATIENCE_S,
                passes=passes,
                on_failure=lambda error, _: logger.warning("requeueing is tried again: %s", error),
            )

    def _requeue_once(self, as_new_job: bool, details: JobDetails | None) -> bool:
        """Try once; return False if the job was cancelled.

        Raises:
            LauncherError: Slurm does not answer, or refused to take the pack as a new job, too.
            OSError: The record of a new job cannot be written.
        """
        if self._is_back(details):
            self._keep_from_bad_nodes()
            return True
        if details and is_cancelled(
            details,
            restarts=self._node.restarts,
            time_limit_s=self._terms.time_limit_s,
            grace_s=self._terms.grace_s,
        ):
            return False
        if as_new_job:
            try:
                self._resubmit(details, "it was started on a bad node")
                return True
            except LauncherError as error:
                if is_slurm_away(error) or not self._terms.may_requeue:
                    raise
                logger.warning("requeued instead, as that was refused: %s", error)
        refusal = "its site does not let jobs be requeued"
        if self._terms.may_requeue:
            if not self._has_asked:
                self._records.put_event(PackEventKind.REQUEUEING, job=self._node.job)
            self._has_asked = True
            try:
                client.requeue(self._node.job)
            except SlurmError as error:
                # The signal that follows a requeue may end `scontrol` before it has said "done".
                details = self._details()
                if self._is_back(details):
                    self._keep_from_bad_nodes()
                    return True
                if is_slurm_away(error):
                    raise
                refusal = str(error)
            else:
                self._keep_from_bad_nodes()
                return True
        self._resubmit(details, refusal)
        return True

    def _resubmit(self, details: JobDetails | None, reason: str) -> None:
        logger.warning("%s: submitted again as a new job, because %s", self._folder.name, reason)
        job_id = resubmit(
            self._folder,
            self._terms,
            self._node.job,
            self._entry_point,
            is_ending=details is not None and is_ending(details, restarts=self._node.restarts),
        )
        if job_id is not None:
            self._records.put_event(PackEventKind.RESUBMITTED, job=job_id)
            self.end_for_good()

    def _keep_from_bad_nodes(self) -> None:
        """Exclude bad nodes from a job that was requeued; it keeps its old list otherwise.

        What is refused here is made up for at the next start: see `as_new_job`.
        """
        if bad := excluded_by(self._folder.experiment, self._terms):
            nodes = exclude_list(self._terms.parameters, bad)
            logger.warning("job %s is kept from %s", self._node.job, nodes)
            try:
                # The signal that follows a requeue may end `scontrol`, too.
                retry(
                    partial(client.exclude_nodes, self._node.job, nodes),
                    timeout_s=_EXCLUDE_TIMEOUT_S,
                    passes=lambda error: isinstance(error, LauncherError) and is_slurm_away(error),
                )
            except LauncherError as error:
                logger.warning("%s", error)

    def _details(self) -> JobDetails | None:
        try:
            return own_details(self._node, self._terms)
        except SlurmError as error:
            if is_slurm_away(error):
                raise
            logger.warning("could not find out how the job stands: %s", error)
            return None

    def _is_back(self, details: JobDetails | None) -> bool:
        """Return whether the job is in the queue again, or about to be.

        Without a grace Slurm requeues a preempted job itself, before it is asked. Until its
        processes have exited such a job is COMPLETING, and counts as restarted.
        """
        return details is not None and (
            details.state == "PENDING" or details.restarts > self._node.restarts
        )


def _passes(error: Exception) -> bool:
    """Return whether Slurm is away, or a disk is: neither has refused anything for good."""
    if isinstance(error, LauncherError) and is_slurm_away(error):
        return True
    return any(each is not None and is_of_this_moment(each) for each in (error, error.__cause__))

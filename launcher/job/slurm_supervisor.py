"""Supervise the members of a pack on one node of a Slurm job, then end or requeue the job."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache, partial
from typing import Any, NoReturn

import attrs

from launcher.errors import LauncherError
from launcher.experiment.experiment_folder import PackFolder
from launcher.job.attempt_end import AttemptEnd
from launcher.job.bad_nodes import note_lost_node
from launcher.job.bookkeeping import PackRecords
from launcher.job.code_check import verify_submitted_code
from launcher.job.multi_node_rendezvous import NodeEnds
from launcher.job.node import ThisNode, allocated_machine, this_slurm_node
from launcher.job.node_supervisor import NodeSupervisor
from launcher.job.own_job import earlier_records
from launcher.job.pack import (
    PATIENCE_S,
    Pack,
    PackEventKind,
    SlurmTerms,
    SubmittedJob,
    patiently,
    read_own_job,
    read_pack_events,
)
from launcher.job.record_end import is_uncounted_finish, is_uncounted_loss
from launcher.job.requeue import JobRequeue
from launcher.job.resubmit import settled
from launcher.job.slots import Slots
from launcher.job.slots_folder import slots_folder
from launcher.job.stop_cause import lost_end
from launcher.job.stop_request import JobStop, SlurmStop
from launcher.job.unfinished_members import mark_ended, unfinished
from launcher.notify.notifier import Notifier
from trainers.errors import LeaseHeldError, LeaseLostError, StopRequestedError
from trainers.run.background_log import flush_log
from trainers.run.backoff import retry
from trainers.run.failure_class import may_come_back
from trainers.run.lease import Lease
from trainers.run.run_folder import RunFolder
from trainers.run.run_state import Cause, RunState, Status
from trainers.stop_flag import StopFlag

logger = logging.getLogger(__name__)

_LEASE_TIMEOUT_S = 600.0
"""How long to wait for a disk that is full or away, before the start counts as failed."""
_CHECK_TIMEOUT_S = 1.0
"""For the lease before the requeue: the grace of the job may be running."""
_LAST_RECORDS_TIMEOUT_S = 3.0
"""For what is left to write once the job is requeued: Slurm kills it soon."""
_STOPPED = 128 + signal.SIGTERM
"""Exit status of a start that was stopped before it began, as a shell gives it: no failure."""


def run_slurm_pack(
    folder: PackFolder,
    pack: Pack,
    terms: SlurmTerms,
    flag: StopFlag,
    entry_point: Callable[[str], None],
) -> None:
    """Supervise this node's share of a pack; do not return if the job is requeued.

    A process whose node Slurm has given up, and whose pack another process has, exits silently.

    Args:
        entry_point: The function that a resubmitted job calls, see `submit_array`.
    """
    try:
        job = patiently(partial(read_own_job, folder))
    except (OSError, ValueError) as error:
        raise SystemExit(f"{folder.job} cannot be read: {error}") from error
    node = this_slurm_node(os.environ, resubmissions=job.resubmissions if job else 0)
    job = settled(folder, job, node.job)
    if job and job.is_replaced(node.job):
        logger.warning("job %s has the pack now, this is %s", job.job_id, node.job)
        _exit(0)
    records = PackRecords(folder)
    try:
        with _take_lease(folder, node, flag) as lease:
            if node.index == 0 and (job is None or job.job_id != node.job):
                _record_job(folder, job, node, records)
            requeue = JobRequeue(folder, records, terms, node, entry_point)
            is_requeued = _SlurmPack(
                folder, pack, terms, node, lease, flag, records, requeue, job
            ).run()
            records.close(_LAST_RECORDS_TIMEOUT_S)
    except (LeaseHeldError, LeaseLostError) as error:
        logger.warning("%s", error)
        _exit(0)
    except StopRequestedError as error:
        logger.warning("%s", error)
        _exit(_STOPPED)
    if is_requeued:
        _exit(0)


def _exit(status: int) -> NoReturn:
    """Exit without submitit's result pickle: its users would take the job to be over."""
    flush_log()
    os._exit(status)


def _take_lease(folder: PackFolder, node: ThisNode, flag: StopFlag) -> Lease:
    """Take the lease of this node; wait for a disk that is full or away, and heed a stop."""
    path = folder.node_lease(node.index)
    return retry(
        partial(Lease.take, path, owner=folder.name, attempt=node.start, should_stop=flag),
        timeout_s=_LEASE_TIMEOUT_S,
        passes=may_come_back,
        should_stop=flag,
        on_failure=lambda error, _: logger.warning("waiting for %s: %s", path, error),
    )


def _record_job(
    folder: PackFolder, job: SubmittedJob | None, node: ThisNode, records: PackRecords
) -> None:
    """Write `job.json` in place of a submitting process that has not done so yet, or has died."""
    job = job or SubmittedJob(job_id="", submitted=time.time())
    records.replace(folder.job, attrs.asdict(attrs.evolve(job, job_id=node.job)))


class _SlurmPack:
    """One node's share of a pack in one start of its job."""

    def __init__(
        self,
        folder: PackFolder,
        pack: Pack,
        terms: SlurmTerms,
        node: ThisNode,
        lease: Lease,
        flag: StopFlag,
        records: PackRecords,
        requeue: JobRequeue,
        job: SubmittedJob | None = None,
    ) -> None:
        self._requeue = requeue
        self._job = job
        self._folder = folder
        self._pack = pack
        self._terms = terms
        self._node = node
        self._lease = lease
        self._records = records
        self._stop: JobStop = SlurmStop(
            flag,
            folder,
            terms,
            node,
            records,
            num_nodes=pack.num_nodes,
            on_final=(lambda details: None) if node.index else requeue.requeue_early,
        )
        self._ends = NodeEnds(folder, node, records)
        self._led = [member for member in pack.members if member.nodes[0] == node.index]

    def run(self) -> bool:
        """Supervise until the node has no more to do; return whether the job is requeued."""
        earlier = self._events_so_far()
        names = [member.name for member in self._led]
        here = {"job": self._node.job, "start": self._node.start, "node": self._node.name}
        self._records.put_event(PackEventKind.STARTED, **here, index=self._node.index)
        try:
            if not self._code_is_intact():
                self._note_end(wants_return=False)  # in good order: the node is not to blame
                Notifier(self._folder.experiment).close(*names)
                return False
            supervisor = self._supervisor()
        except Exception as error:  # whatever is wrong with this node: `batch_end` tells it
            self._records.put_event(PackEventKind.START_FAILED, **here, error=str(error))
            self._records.close(_LAST_RECORDS_TIMEOUT_S)
            raise
        self._count_lost_attempts(supervisor, earlier)
        supervisor.notifier.look_at(*names)  # what the last start of the job had no time to tell
        try:
            supervisor.run()
        except LeaseLostError:
            supervisor.kill_all()
            raise
        is_requeued = self._end(supervisor)
        supervisor.close_records(_LAST_RECORDS_TIMEOUT_S)
        if not is_requeued and not self._requeue.problem:
            supervisor.notifier.close(*names)
        return is_requeued

    def _events_so_far(self) -> list[dict[str, Any]]:
        try:
            return patiently(lambda: list(read_pack_events(self._folder)))
        except OSError as error:
            logger.warning("what happened to the job so far is not known: %s", error)
            return []

    def _code_is_intact(self) -> bool:
        if not self._pack.code:
            return True
        code = self._folder.experiment.code / self._pack.code
        try:
            retry(
                partial(verify_submitted_code, code),
                timeout_s=PATIENCE_S,
                # Its mount may show no files for now.
                passes=lambda error: isinstance(error, (LauncherError, OSError)),
                should_stop=self._stop.is_requested,
            )
        except LauncherError as error:
            logger.error("%s", error)
            mark_ended(self._folder, self._led, status=Status.FAILED, reason=str(error))
            return False
        return True

    def _supervisor(self) -> NodeSupervisor:
        machine = self._pack.machine or allocated_machine(os.environ, self._terms)
        return NodeSupervisor(
            attrs.evolve(self._folder, fence=self._lease.check),
            self._pack,
            Slots(machine, slots_folder(f"{self._node.job}-{self._node.name}")),
            node=self._node,
            stop=self._stop,
            records=self._records,
        )

    def _count_lost_attempts(
        self, supervisor: NodeSupervisor, earlier: Sequence[dict[str, Any]]
    ) -> None:
        """Count attempts of an earlier start of the job whose supervisor did not live to do so."""
        asks_slurm = threading.Lock()

        @cache
        def lost() -> AttemptEnd:
            records = earlier_records(self._node, self._terms, self._job)
            note_lost_node(self._folder.experiment, self._node.job, records)
            return lost_end(earlier, records)

        def find_end(run: RunFolder, state: RunState) -> AttemptEnd | None:
            if is_uncounted_finish(self._folder, run, state):
                return AttemptEnd(cause=Cause.FINISHED)
            if is_uncounted_loss(self._folder, run, state):
                with asks_slurm:
                    return lost()
            return None

        supervisor.queue.count_lost_attempts(self._led, find_end)

    def _end(self, supervisor: NodeSupervisor) -> bool:
        """On the first node, requeue once all have ended; return whether the job runs again."""
        wants_return = bool(supervisor.queue.unrecorded) or supervisor.queue.wants_another_node
        if self._node.index:
            # If it cannot be written, this raises, Slurm ends the other nodes, too, and the batch
            # script requeues the job.
            self._note_end(wants_return)
            return self._stop.is_requested()
        wants_return |= self._ends.wait_for_others(self._pack.num_nodes, self._stop.is_requested)
        self._check_lease()
        is_requeued = self._requeue_if_needed(supervisor, wants_return)
        # After the requeue: if that fails, or this process is killed, the batch script tries again.
        if not self._requeue.problem:
            self._note_end(wants_return)
        return is_requeued

    def _note_end(self, wants_return: bool) -> None:
        """Say that this node has ended in good order: to the batch script, or to the first node."""
        if self._node.index:
            self._ends.report(wants_return, is_stopping=self._stop.is_requested())
            return
        with suppress(OSError):
            self._folder.is_over.touch()

    def _requeue_if_needed(self, supervisor: NodeSupervisor, wants_return: bool) -> bool:
        unrecorded = supervisor.queue.unrecorded
        known = [member for member in self._pack.members if member.name not in unrecorded]
        names = unrecorded | {member.name for member in unfinished(self._folder, known)}
        left = [member for member in self._pack.members if member.name in names]
        if left and (wants_return or self._stop.is_requested()):
            return self._requeue.requeue(left, as_new_job=supervisor.health.is_misplaced)
        self._records.put_event(PackEventKind.ENDED, unfinished=len(left))
        if self._node.restarts or self._stop.is_requested():
            self._requeue.end_for_good()
        return False

    def _check_lease(self) -> None:
        try:
            self._lease.check(timeout_s=_CHECK_TIMEOUT_S)
        except OSError as error:  # a requeue of a job that has been requeued does no harm
            logger.warning("whether another supervisor has the pack is not known: %s", error)

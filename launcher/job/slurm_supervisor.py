"""Supervise the members of a pack on one node of a Slurm job, then end or requeue the job."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import attrs

from launcher import file_lock
from launcher.errors import LauncherError
from launcher.experiment.code_snapshot import verify_snapshot
from launcher.experiment.experiment_folder import PackFolder
from launcher.job.bad_nodes import NodeFailure, NodeFailureKind, excluded_by, note_node_failure
from launcher.job.node import ThisNode, allocated_machine, this_slurm_node
from launcher.job.node_supervisor import NodeSupervisor
from launcher.job.pack import (
    Member,
    Pack,
    PackEventKind,
    SlurmTerms,
    SubmittedJob,
    append_pack_event,
    read_job,
    read_pack_events,
    write_job,
)
from launcher.job.record_end import count_finished, record_end
from launcher.job.requeue import requeue_pack
from launcher.job.slots import Slots, slots_folder
from launcher.job.stop_cause import lost_end
from launcher.job.stop_request import JobStop, SlurmStop
from launcher.job.unfinished_members import is_unfinished, mark_ended, unfinished
from launcher.slurm import client
from launcher.slurm.jobs import JobRecord
from trainers.errors import LeaseHeldError, LeaseLostError
from trainers.run.atomic_write import atomic_write
from trainers.run.lease import Lease, is_live
from trainers.run.run_folder import RunFolder
from trainers.run.run_state import Status, read_state
from trainers.stop_flag import StopFlag

logger = logging.getLogger(__name__)

_NODE_END_POLL_S = 0.2


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
    job = read_job(folder)
    node = this_slurm_node(os.environ, resubmissions=job.resubmissions if job else 0)
    if job and job.is_replaced(node.job):
        logger.warning("job %s has the pack now, this is %s", job.job_id, node.job)
        os._exit(0)
    try:
        with Lease.take(
            folder.node_lease(node.index),
            owner=folder.name,
            attempt=node.start,
        ) as lease:
            if node.index == 0 and (job is None or job.job_id != node.job):
                _record_job(folder, job, node)
            is_requeued = _SlurmPack(folder, pack, terms, node, lease, flag).run(entry_point)
    except (LeaseHeldError, LeaseLostError) as error:
        logger.warning("%s", error)
        os._exit(0)
    if is_requeued:
        # Returning would let submitit write a result pickle: its users, and `job.done()`, would
        # take the job to be over.
        os._exit(0)


def _record_job(folder: PackFolder, job: SubmittedJob | None, node: ThisNode) -> None:
    """Write `job.json` in place of a submitting process that has not done so yet, or has died."""
    job = job or SubmittedJob(job_id="", submitted=time.time())
    write_job(folder, attrs.evolve(job, job_id=node.job))


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
    ) -> None:
        self._folder = folder
        self._pack = pack
        self._terms = terms
        self._node = node
        self._lease = lease
        self._must_leave = False
        """Whether a node of the job is a bad one for this experiment."""
        self._is_misplaced = False
        """Whether it was one when the job began: Slurm has not heeded its list of nodes."""
        self._stop: JobStop = SlurmStop(flag, folder, terms, node, num_nodes=pack.num_nodes)

    def run(self, entry_point: Callable[[str], None]) -> bool:
        """Supervise until the node has no more to do; return whether the job is requeued."""
        folder, node = self._folder, self._node
        earlier = list(read_pack_events(folder))
        append_pack_event(
            folder,
            PackEventKind.STARTED,
            job=node.job,
            start=node.start,
            node=node.name,
            index=node.index,
        )
        led = [member for member in self._pack.members if member.nodes[0] == node.index]
        if not self._code_is_intact(led):
            return False
        count_finished(folder, led)
        self._record_lost_attempts(led, earlier)
        if bad := set(excluded_by(folder.experiment, self._terms)).intersection(node.job_nodes):
            logger.warning("no run is started, on account of bad nodes: %s", ", ".join(sorted(bad)))
            self._must_leave = self._is_misplaced = True
            return self._end(entry_point)
        machine = self._pack.machine or allocated_machine(os.environ)
        name = f"{node.job}-{node.name}"
        supervisor = NodeSupervisor(
            attrs.evolve(folder, fence=self._lease.check),
            self._pack,
            Slots(machine, slots_folder(name)),
            node=node,
            stop=self._stop,
        )
        try:
            supervisor.run()
        except LeaseLostError:
            supervisor.kill_all()
            raise
        self._must_leave = supervisor.health.must_leave
        return self._end(entry_point)

    def _code_is_intact(self, led: Iterable[Member]) -> bool:
        if not self._pack.code:
            return True
        try:
            verify_snapshot(self._folder.experiment.code / self._pack.code)
        except LauncherError as error:
            logger.error("%s", error)
            mark_ended(self._folder, led, status=Status.FAILED, reason=str(error))
            return False
        return True

    def _record_lost_attempts(
        self, led: Iterable[Member], earlier: list[dict[str, object]]
    ) -> None:
        """Count attempts of an earlier start of the job whose supervisor did not live to do so."""
        experiment = self._folder.experiment
        with file_lock.hold(experiment.lock):
            lost = [member for member in led if self._is_lost(experiment.run(member.name))]
            if not lost:
                return
            records = self._records()
            self._note_lost_node(records, lost)
            end = lost_end(earlier, records)
            for member in lost:
                record_end(experiment.run(member.name), end, member.retries)

    def _note_lost_node(self, records: Sequence[JobRecord], lost: Sequence[Member]) -> None:
        """Blame the node that Slurm has given up, if it was the only one of the job."""
        ended = [record for record in records if record.end is not None]
        if ended and ended[-1].state == "NODE_FAIL" and len(ended[-1].nodes) == 1:
            names = ", ".join(member.name for member in lost)
            failure = NodeFailure(
                node=ended[-1].nodes[0],
                kind=NodeFailureKind.LOST,
                run=names,
                job=self._node.job,
                reason="Slurm says NODE_FAIL",
            )
            note_node_failure(self._folder.experiment, failure)

    def _is_lost(self, run: RunFolder) -> bool:
        state = read_state(run)
        began = state.status == Status.RUNNING or run.log(state.num_attempts).exists()
        uncounted = is_unfinished(self._folder, state) or state.status == Status.FAILED
        return began and uncounted and state.pack == self._folder.name

    def _records(self) -> list[JobRecord]:
        if not self._terms.accounting:
            return []
        try:
            return client.job_records([self._node.job]).get(self._node.job, [])
        except LauncherError as error:
            logger.warning("%s", error)
            return []

    def _end(self, entry_point: Callable[[str], None]) -> bool:
        """On the first node, requeue once all have ended; return whether the job runs again."""
        folder, node = self._folder, self._node
        if node.index:
            with atomic_write(folder.node_end(node.index)) as file:
                file.write(json.dumps({"start": node.start}).encode())
            return self._stop.is_requested() or self._must_leave
        self._wait_for_other_nodes()
        self._lease.check()
        is_requeued = self._requeue_if_needed(entry_point)
        folder.is_over.touch()
        return is_requeued

    def _requeue_if_needed(self, entry_point: Callable[[str], None]) -> bool:
        left = unfinished(self._folder, self._pack.members)
        if not left or not (self._stop.is_requested() or self._must_leave):
            append_pack_event(self._folder, PackEventKind.ENDED, unfinished=len(left))
            return False
        # Before the requeue, which kills the batch script and soon this process: without the file
        # the batch script would take the supervisor to have died, and requeue a second time.
        self._folder.is_over.touch()
        return requeue_pack(
            self._folder,
            self._terms,
            self._node,
            left,
            entry_point,
            as_new_job=self._is_misplaced,
        )

    def _wait_for_other_nodes(self) -> None:
        """Wait until the other nodes have ended, or are to stop and their supervisors are dead."""
        others = set(range(1, self._pack.num_nodes))
        while others:
            others = {node for node in others if not self._has_ended(node)}
            if others:
                time.sleep(_NODE_END_POLL_S)

    def _has_ended(self, node: int) -> bool:
        if _start_in(self._folder.node_end(node)) == self._node.start:
            return True
        return self._stop.is_requested() and not is_live(self._folder.node_lease(node))


def _start_in(end: Path) -> int | None:
    """Return the start of the job in which a node has ended; None if it has not."""
    try:
        content: Mapping[str, int] = json.loads(end.read_bytes())
    except FileNotFoundError:
        return None
    return content["start"]

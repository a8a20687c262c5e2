"""Start, monitor and stop the members of a pack on one node."""

from __future__ import annotations

import logging
import time

import attrs

from launcher.experiment.experiment_folder import PackFolder
from launcher.job.attempt_end import AttemptEnd, attempt_end
from launcher.job.bad_nodes import NodeHealth
from launcher.job.bookkeeping import CancelRequests, MemberRecords, PackRecords
from launcher.job.member_queue import FindEnd, MemberQueue, Waiting
from launcher.job.member_ranks import MemberRanks, joint_status
from launcher.job.member_starter import Command, MemberStarter, trainer_command
from launcher.job.node import ThisNode
from launcher.job.out_of_memory import OutOfMemoryCounter
from launcher.job.pack import Member, Pack, PackEventKind
from launcher.job.record_end import log_tail
from launcher.job.slots import Slot, Slots
from launcher.job.stop_request import JobStop
from launcher.notify.notifier import Notifier
from trainers import exit_codes
from trainers.run.run_folder import RunFolder
from trainers.run.run_state import Cause, RunState

logger = logging.getLogger(__name__)

POLL_S = 0.1
STOPPING_POLL_S = 0.02
"""The grace is short, and the job is requeued only after the members have exited."""
REPORT_TIMEOUT_S = 30.0
"""How long the other nodes of a member may take to report the exit status of their ranks."""
STOPPED_RECORDS_TIMEOUT_S = 0.5
"""How long at least, even if the members have used up the grace."""
LAST_RECORDS_TIMEOUT_S = 600.0
"""How long a job whose members have all ended waits for a disk that takes no records."""


@attrs.define(eq=False)
class _Running:
    """A member whose ranks run on this node."""

    ranks: MemberRanks
    waited: Waiting
    ended_at_s: float | None = None
    """When its ranks on this node exited, while it waits for those on other nodes."""


class NodeSupervisor:
    """Runs every member of a pack to its end, as many at a time as fit into the free slots.

    One member's failure does not affect the others: it is retried within its own budgets. A run
    that was meanwhile assigned to a later pack is left alone. The loop itself writes nothing to the
    shared file system: see `bookkeeping`.
    """

    def __init__(
        self,
        folder: PackFolder,
        pack: Pack,
        slots: Slots,
        *,
        node: ThisNode,
        stop: JobStop,
        records: PackRecords | None = None,
        notifier: Notifier | None = None,
        command: Command = trainer_command,
    ) -> None:
        self._folder = folder
        self._experiment = folder.experiment
        self._pack = pack
        self._slots = slots
        self._node = node
        self._stop = stop
        self._pack_records = records or PackRecords(folder)
        self.notifier = notifier or Notifier(self._experiment)
        self._records = MemberRecords(folder, self.notifier.look_at)
        self.health = NodeHealth(self._experiment, node, pack.slurm)
        self._starter = MemberStarter(
            folder, slots, node, command, self._pack_records, self._records, self.health
        )
        self._oom_kills = OutOfMemoryCounter()
        own = [member for member in pack.members if node.index in member.nodes]
        self._followed = [member for member in own if member.nodes[0] != node.index]
        self._running: dict[RunFolder, _Running] = {}
        self._cancelled = CancelRequests(self._experiment.run(member.name) for member in own)
        self._queue = MemberQueue(
            folder, pack, slots, node, self._starter, self._records, self._cancelled, self.health
        )
        self._stopping_since_s: float | None = None
        self._all_ended_at_s: float | None = None
        self._has_begun = False

    @property
    def queue(self) -> MemberQueue:
        """The members that wait, and after `run` those of which something is not recorded."""
        return self._queue

    def run(self) -> None:
        """Return once no member runs on this node and none is left to be started."""
        while True:
            stopping = self._stop.is_requested()
            now_s = time.monotonic()
            if stopping:
                self._stopping_since_s = self._stopping_since_s or now_s
                self._queue.drop_waiting()
                self._followed.clear()
            elif self.health.must_leave:
                self._queue.leave_node()
            self._stop_members(stopping, now_s)
            self._collect_ended(now_s)
            self._queue.collect_recorded(stopping, now_s)
            if not stopping:
                self._queue.ask_to_start(now_s)
            for waiting, folder, attempt, slot in self._queue.pop_startable(stopping, now_s):
                self._start(waiting, folder, attempt, slot)
            self._follow(now_s)
            if not self._has_work(now_s):
                self._cancelled.stop()
                return
            self._records.wait(STOPPING_POLL_S if stopping else POLL_S)

    def close_records(self, timeout_s: float) -> None:
        """Wait for what is not written yet; say what is lost."""
        self._records.close(timeout_s)

    def kill_all(self) -> None:
        """Kill the ranks of all members at once: another supervisor has taken over the pack."""
        for running in self._running.values():
            running.ranks.kill()

    def _has_work(self, now_s: float) -> bool:
        if self._running or self._followed or self._queue.has_waiting:
            self._all_ended_at_s = None
            return True
        if not (self._queue.unrecorded or self.health.is_checking):
            return False
        # All that is left is to be recorded. The requeue of a job that is stopped cannot wait.
        self._all_ended_at_s = self._all_ended_at_s or now_s
        if self._stopping_since_s is None:
            return now_s < self._all_ended_at_s + LAST_RECORDS_TIMEOUT_S
        left_s = self._stopping_since_s + self._stop.grace_s() - self._all_ended_at_s
        return now_s < self._all_ended_at_s + max(left_s, STOPPED_RECORDS_TIMEOUT_S)

    def _stop_members(self, stopping: bool, now_s: float) -> None:
        for folder, running in self._running.items():
            if stopping or folder in self._cancelled:
                running.ranks.ask_to_stop(now_s)
        # After the signals: this asks Slurm for the cause, while the grace is running.
        grace_s = self._grace_s(stopping)
        for folder, running in self._running.items():
            if running.ranks.kill_after_grace(grace_s, now_s):
                logger.warning("%s: killed, still running %g s after SIGTERM", folder.name, grace_s)

    def _grace_s(self, stopping: bool) -> float:
        return self._stop.grace_s() if stopping and self._running else self._pack.grace_s

    def _collect_ended(self, now_s: float) -> None:
        for folder, running in list(self._running.items()):
            if self._leads_others(running.ranks.member) and self._others_failed(running.ranks):
                running.ranks.note_rank_lost(now_s)
            if not running.ranks.have_ended(now_s):
                continue
            running.ended_at_s = running.ended_at_s or now_s
            statuses = self._all_statuses(running, now_s)
            if statuses is not None:
                del self._running[folder]
                self._handle_exit(folder, running, joint_status(statuses), now_s)

    def _handle_exit(
        self, folder: RunFolder, running: _Running, exit_status: int, now_s: float
    ) -> None:
        member, attempt = running.ranks.member, running.ranks.attempt
        logger.info("%s: attempt %d, exit status %d", folder.name, attempt, exit_status)
        self.health.note_end(running.ranks, exit_status)
        if member.nodes[0] != self._node.index:
            self._starter.rendezvous(member).report_exit(self._node.index, attempt, exit_status)
            return
        if self._leads_others(member):
            self._starter.rendezvous(member).end_attempt(attempt)
        self._starter.free_slot(member, running.ranks.slot)
        if exit_status != exit_codes.NOTHING_TO_DO:
            self._queue.record_end(running.waited, self._end_of(folder, running, exit_status))
        elif self._stop.is_requested():
            self._starter.release(member)
        else:
            self._queue.try_later(running.waited, now_s)

    def _end_of(self, folder: RunFolder, running: _Running, exit_status: int) -> FindEnd:
        """Return what tells the end of an attempt: it asks Slurm and the disk, in its own time."""
        stop = self._stop if self._stop.is_requested() else None
        out_of_memory = self._oom_kills.has_grown()

        def end(_: RunState) -> AttemptEnd:
            return attempt_end(
                exit_status,
                cancel_requested=folder.cancel_request.exists(),
                stop=stop.request() if stop else None,
                killed_after_s=running.ranks.killed_after_s,
                out_of_memory=out_of_memory,
                log_tail=log_tail(running.ranks.decisive_log()),
            )

        return end

    def _start(self, waiting: Waiting, folder: RunFolder, attempt: int, slot: Slot) -> None:
        member = waiting.member
        ranks = self._starter.start(member, folder, attempt, slot)
        if isinstance(ranks, AttemptEnd):
            end = ranks
            self._starter.free_slot(member, slot)
            self._queue.record_end(waiting, lambda _: end)
            return
        self._running[folder] = _Running(ranks, waiting)
        if self._leads_others(member):
            self._starter.rendezvous(member).start_attempt(attempt)
        self._note_began()

    def _note_began(self) -> None:
        if not self._has_begun and self._pack.slurm:
            self._pack_records.put_event(
                PackEventKind.BEGAN, job=self._node.job, start=self._node.start
            )
        self._has_begun = True

    def _follow(self, now_s: float) -> None:
        """Join attempts that the first node of a member has started; leave those it has ended."""
        for member in list(self._followed):
            rendezvous = self._starter.rendezvous(member)
            folder = self._experiment.run(member.name)
            attempt = rendezvous.current_attempt()
            running = self._running.get(folder)
            if running:
                if attempt != running.ranks.attempt:
                    running.ranks.note_rank_lost(now_s)
            elif rendezvous.is_closed:
                self._followed.remove(member)
                self._starter.release(member)
            elif attempt is not None and not rendezvous.has_reported(attempt):
                if lack := self._slots.lacks(gpus=member.gpus, memory_gb=member.memory_gb):
                    if self._slots.lacks_gpus(member.gpus):
                        self.health.note_too_few_gpus(member.name, lack)
                    rendezvous.report_exit(self._node.index, attempt, exit_codes.NODE_FAULT)
                elif slot := self._starter.take_slot(member):
                    self._join(member, folder, attempt, slot)

    def _join(self, member: Member, folder: RunFolder, attempt: int, slot: Slot) -> None:
        ranks = self._starter.start(member, folder, attempt, slot)
        if isinstance(ranks, AttemptEnd):
            passes = ranks.cause == Cause.UNAVAILABLE
            self._starter.rendezvous(member).report_exit(
                self._node.index, attempt, exit_codes.UNAVAILABLE if passes else exit_codes.FAILED
            )
            logger.error("%s: %s", member.name, ranks.reason)
        else:
            self._running[folder] = _Running(ranks, Waiting(member))

    def _leads_others(self, member: Member) -> bool:
        return len(member.nodes) > 1 and member.nodes[0] == self._node.index

    def _others_failed(self, ranks: MemberRanks) -> bool:
        reported = self._starter.rendezvous(ranks.member).exit_statuses(ranks.attempt)
        return any(
            status not in (exit_codes.FINISHED, exit_codes.STOPPED) for status in reported.values()
        )

    def _all_statuses(self, running: _Running, now_s: float) -> list[int] | None:
        """Return the exit statuses of all nodes; None while some may still be reported."""
        ranks = running.ranks
        statuses = [ranks.exit_status()]
        if not self._leads_others(ranks.member):
            return statuses
        reported = self._starter.rendezvous(ranks.member).exit_statuses(ranks.attempt)
        assert running.ended_at_s is not None
        complete = len(reported) == len(ranks.member.nodes) - 1
        if complete or now_s > running.ended_at_s + REPORT_TIMEOUT_S:
            return statuses + list(reported.values())
        return None

"""Start, monitor and stop the members of a pack on one node."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

import attrs

from launcher import file_lock
from launcher.experiment.experiment_folder import PackFolder
from launcher.job.attempt_end import AttemptEnd, attempt_end
from launcher.job.bad_nodes import NodeHealth
from launcher.job.member_ranks import MemberRanks, joint_status
from launcher.job.member_starter import Command, MemberStarter, trainer_command
from launcher.job.multi_node_rendezvous import MemberRendezvous
from launcher.job.node import ThisNode
from launcher.job.out_of_memory import OutOfMemoryCounter
from launcher.job.pack import Member, Pack
from launcher.job.record_end import log_tail, record_end
from launcher.job.slots import Slot, Slots
from launcher.job.stop_request import JobStop
from launcher.job.unfinished_members import CANCELLED, is_of_pack, is_unfinished
from trainers import exit_codes
from trainers.errors import ConfigError
from trainers.run import lease
from trainers.run.run_folder import RunFolder
from trainers.run.run_state import Cause, RunState, Status, read_state, write_state

logger = logging.getLogger(__name__)

POLL_S = 0.1
STOPPING_POLL_S = 0.02
"""The grace is short, and the job is requeued only after the members have exited."""
RETRY_DELAY_S = 1.0
"""Delay before a member that exited on its own is retried: a stop of the job may have ended it,
and the signal to the supervisor may come a moment later."""
HELD_DELAY_S = 5.0
"""Delay between attempts at a run whose lease another process holds."""
MAX_HELD = 24
"""How many of these attempts in a row are made."""
REPORT_TIMEOUT_S = 30.0
"""How long the other nodes of a member may take to report the exit status of their ranks."""


@attrs.define
class _Waiting:
    """A member in the queue of this supervisor."""

    member: Member
    not_before_s: float = 0.0
    times_held: int = 0


@attrs.define
class _Running:
    """A member whose ranks run on this node."""

    ranks: MemberRanks
    times_held: int
    ended_at_s: float | None = None
    """When its ranks on this node exited, while it waits for those on other nodes."""


class NodeSupervisor:
    """Runs every member of a pack to its end, as many at a time as fit into the free slots.

    One member's failure does not affect the others: it is retried within its own budgets. A run
    that was meanwhile assigned to a later pack is left alone. States of runs are written under the
    experiment's lock, and only while the folder's fence does not raise.
    """

    def __init__(
        self,
        folder: PackFolder,
        pack: Pack,
        slots: Slots,
        *,
        node: ThisNode,
        stop: JobStop,
        command: Command = trainer_command,
    ) -> None:
        self._folder = folder
        self._experiment = folder.experiment
        self._pack = pack
        self._node = node
        self._stop = stop
        self._starter = MemberStarter(folder, slots, node, command)
        self.health = NodeHealth(self._experiment, node, pack.slurm)
        self._oom_kills = OutOfMemoryCounter()
        own = [member for member in pack.members if node.index in member.nodes]
        self._queue = [_Waiting(member) for member in own if member.nodes[0] == node.index]
        self._followed = [member for member in own if member.nodes[0] != node.index]
        self._running: dict[RunFolder, _Running] = {}

    def run(self) -> None:
        """Return once no member runs on this node and none is left to be started."""
        while self._queue or self._running or self._followed:
            stopping = self._stop.is_requested()
            now_s = time.monotonic()
            if stopping:
                self._queue.clear()
                self._followed.clear()
            elif self.health.must_leave:
                for waiting in self._queue:
                    self._starter.release(waiting.member)
                self._queue.clear()
            self._stop_members(stopping, now_s)
            self._collect_ended(now_s)
            self._start_members(now_s)
            self._follow(now_s)
            if self._queue or self._running or self._followed:
                time.sleep(STOPPING_POLL_S if stopping else POLL_S)

    def kill_all(self) -> None:
        """Kill the ranks of all members at once: another supervisor has taken over the pack."""
        for running in self._running.values():
            running.ranks.kill()

    def _stop_members(self, stopping: bool, now_s: float) -> None:
        for folder, running in self._running.items():
            if stopping or folder.cancel_request.exists():
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
        else:
            running.ranks.slot.close()
        retry = self._record(folder, running, exit_status)
        if retry and not self._stop.is_requested():
            held = exit_status == exit_codes.NOTHING_TO_DO
            delay_s = HELD_DELAY_S if held else RETRY_DELAY_S
            times_held = running.times_held + 1 if held else 0
            self._queue.append(_Waiting(member, now_s + delay_s, times_held))
        else:
            self._starter.release(member)

    def _record(self, folder: RunFolder, running: _Running, exit_status: int) -> bool:
        """Record the end of the attempt; return whether this supervisor is to retry the run."""
        if exit_status == exit_codes.NOTHING_TO_DO:
            return self._pack.slurm is not None and running.times_held < MAX_HELD
        stop = self._stop.request() if self._stop.is_requested() else None
        with file_lock.hold(self._experiment.lock):
            self._folder.fence()
            if not self._owns(folder, is_of_pack):
                return False
            end = attempt_end(
                exit_status,
                cancel_requested=folder.cancel_request.exists(),
                stop=stop,
                killed_after_s=running.ranks.killed_after_s,
                out_of_memory=self._oom_kills.has_grown(),
                log_tail=log_tail(running.ranks.decisive_log()),
            )
            status = record_end(folder, end, running.ranks.member.retries).status
        left_to_user = end.cause == Cause.PREEMPTED and self._pack.slurm is None
        return status == Status.WAITING and not left_to_user

    def _start_members(self, now_s: float) -> None:
        for waiting in [each for each in self._queue if each.not_before_s <= now_s]:
            folder = self._experiment.run(waiting.member.name)
            is_cancelled = folder.cancel_request.exists()
            slot = None if is_cancelled else self._take_slot(waiting.member)
            if slot or is_cancelled:
                self._queue.remove(waiting)
                with file_lock.hold(self._experiment.lock):
                    self._folder.fence()
                    self._start_or_drop(waiting, folder, slot)

    def _take_slot(self, member: Member) -> Slot | None:
        if self.health.is_checking:
            return None
        return self._starter.take_slot(member, self.health.faulty_gpus)

    def _start_or_drop(self, waiting: _Waiting, folder: RunFolder, slot: Slot | None) -> None:
        """Start a member, unless its run is over, cancelled or assigned to another pack."""
        if not self._owns(folder, is_unfinished):
            self._starter.release(waiting.member, slot)
        elif slot is None or folder.cancel_request.exists():
            state = attrs.evolve(read_state(folder), status=Status.CANCELLED, reason=CANCELLED)
            write_state(folder, state)
            self._starter.release(waiting.member, slot)
        else:
            self._start(waiting, folder, slot)

    def _start(self, waiting: _Waiting, folder: RunFolder, slot: Slot) -> None:
        # Marked as running before its process exists, so that nothing else starts the run.
        member = waiting.member
        state = read_state(folder)
        write_state(folder, attrs.evolve(state, status=Status.RUNNING, reason=""))
        attempt = max(state.num_attempts, _attempt_after_lease(folder))
        ranks = self._starter.start(member, folder, attempt, slot)
        if isinstance(ranks, OSError):
            self._starter.release(member, slot)
            end = AttemptEnd(cause=Cause.CRASHED, reason=str(ranks), can_be_retried=False)
            record_end(folder, end, member.retries)
            return
        self._running[folder] = _Running(ranks, waiting.times_held)
        if self._leads_others(member):
            self._starter.rendezvous(member).start_attempt(attempt)

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
            elif attempt is not None and not self._has_reported(rendezvous, attempt):
                slot = self._take_slot(member)
                if slot:
                    self._join(member, folder, attempt, slot)

    def _has_reported(self, rendezvous: MemberRendezvous, attempt: int) -> bool:
        return self._node.index in rendezvous.exit_statuses(attempt)

    def _join(self, member: Member, folder: RunFolder, attempt: int, slot: Slot) -> None:
        ranks = self._starter.start(member, folder, attempt, slot)
        if isinstance(ranks, OSError):
            self._starter.rendezvous(member).report_exit(
                self._node.index, attempt, exit_codes.FAILED
            )
            logger.error("%s: %s", member.name, ranks)
        else:
            self._running[folder] = _Running(ranks, times_held=0)

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

    def _owns(self, folder: RunFolder, predicate: Callable[[PackFolder, RunState], bool]) -> bool:
        """Return whether the predicate holds for this pack and the run; False if unreadable."""
        try:
            return predicate(self._folder, read_state(folder))
        except ConfigError as error:
            logger.error("%s is left alone: %s", folder.name, error)
            return False


def _attempt_after_lease(folder: RunFolder) -> int:
    """Return a number above that of an attempt that was never counted and may still be alive.

    A lease is taken over at once only by a later attempt of the same owner.
    """
    record = lease.read_lease(folder.lease)
    return record.attempt + 1 if record and not record.released else 0

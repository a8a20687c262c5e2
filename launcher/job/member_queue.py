"""The members that a supervisor is to start, and those whose end is yet to be recorded."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from functools import partial

import attrs

from launcher.experiment.experiment_folder import PackFolder
from launcher.job.attempt_end import AttemptEnd
from launcher.job.bad_nodes import NodeHealth
from launcher.job.bookkeeping import CancelRequests, MemberRecords, Pending
from launcher.job.member_starter import MemberStarter
from launcher.job.node import ThisNode
from launcher.job.pack import Member, Pack
from launcher.job.requeue_policy import retry_delay_s
from launcher.job.slots import Slot, Slots
from launcher.job.unfinished_members import CANCELLED, is_unfinished
from trainers.run.run_folder import RunFolder
from trainers.run.run_state import Cause, RunState, Status

logger = logging.getLogger(__name__)

HELD_DELAY_S = 5.0
"""Delay between attempts at a run whose lease another process holds, or whose state is damaged."""
MAX_HELD = 24
"""How many of these attempts in a row are made."""

FindEnd = Callable[[RunState], AttemptEnd | None]
"""Tells how an attempt ended, from the state so far; None if there is nothing to count."""


@attrs.define(eq=False)
class Waiting:
    """A member in the queue."""

    member: Member
    not_before_s: float = 0.0
    times_held: int = 0
    times_away: int = 0
    """Attempts in a row that have ended as unavailable."""
    slot: Slot | None = None
    start: Pending[int | None] | None = None
    """The number of its attempt, once it has a slot and is marked as running."""


@attrs.define(eq=False)
class _Ending:
    """A member whose attempt has ended, until that is recorded."""

    waited: Waiting
    counted: Pending[tuple[RunState, AttemptEnd] | None]
    is_misfit: bool
    """Whether this node can never hold it."""


class MemberQueue:
    """The queue of the members that this node leads.

    A member passes through it before each attempt: it waits for its delay and a slot, then for its
    run to be marked as running; and after the attempt, until the end of that is recorded. Nothing
    here blocks.
    """

    def __init__(
        self,
        folder: PackFolder,
        pack: Pack,
        slots: Slots,
        node: ThisNode,
        starter: MemberStarter,
        records: MemberRecords,
        cancelled: CancelRequests,
        health: NodeHealth,
    ) -> None:
        self._folder = folder
        self._pack = pack
        self._slots = slots
        self._node = node
        self._starter = starter
        self._records = records
        self._cancelled = cancelled
        self._health = health
        self._waiting = [
            Waiting(member) for member in pack.members if member.nodes[0] == node.index
        ]
        self._ending: list[_Ending] = []
        self.wants_another_node = False
        """Whether a run is left that this node cannot hold, or must not have."""

    @property
    def has_waiting(self) -> bool:
        """Whether a member waits for its delay or for a slot."""
        return any(waiting.start is None for waiting in self._waiting)

    @property
    def unrecorded(self) -> set[str]:
        """The members whose start or end is not recorded yet."""
        starting = [waiting for waiting in self._waiting if waiting.start]
        waited = [*starting, *(ending.waited for ending in self._ending)]
        return {waiting.member.name for waiting in waited}

    def drop_waiting(self) -> None:
        """Start nothing more: the job is to stop."""
        self._waiting = [waiting for waiting in self._waiting if waiting.start]

    def leave_node(self) -> None:
        """Start nothing more: the node is a bad one, and what is left is to run on others."""
        for waiting in [each for each in self._waiting if each.start is None]:
            self._waiting.remove(waiting)
            self._starter.release(waiting.member)
            self.wants_another_node = True

    def count_lost_attempts(
        self,
        members: Iterable[Member],
        find_end: Callable[[RunFolder, RunState], AttemptEnd | None],
    ) -> None:
        """Have attempts counted that an earlier supervisor did not live to count."""
        for member in members:
            run = self._folder.experiment.run(member.name)
            self._records.end(run, member.retries, partial(find_end, run))

    def record_end(self, waited: Waiting, find_end: FindEnd, *, is_misfit: bool = False) -> None:
        """Have the end of an attempt recorded, and the member queued again if it is retried."""
        run = self._folder.experiment.run(waited.member.name)
        counted = self._records.end(run, waited.member.retries, find_end)
        self._ending.append(_Ending(waited, counted, is_misfit))

    def collect_recorded(self, stopping: bool, now_s: float) -> None:
        """Queue members that are to be retried, once the end of their attempt is recorded."""
        for ending in [each for each in self._ending if each.counted.is_done]:
            self._ending.remove(ending)
            member, counted = ending.waited.member, ending.counted.answer
            if ending.counted.error:
                logger.error("%s is left alone: %s", member.name, ending.counted.error)
            is_due = counted is not None and self._is_due_again(*counted)
            self.wants_another_node |= is_due and ending.is_misfit
            if counted is None or stopping or not is_due or ending.is_misfit:
                self._starter.release(member)
                continue
            cause = counted[1].cause
            times_away = ending.waited.times_away + 1 if cause == Cause.UNAVAILABLE else 0
            not_before_s = now_s + retry_delay_s(cause, times_away)
            self._waiting.append(Waiting(member, not_before_s, times_away=times_away))

    def try_later(self, waited: Waiting, now_s: float) -> None:
        """Queue a member again whose run another process holds, or whose state is damaged."""
        if waited.times_held < MAX_HELD and self._pack.slurm:
            not_before_s, times_held = now_s + HELD_DELAY_S, waited.times_held + 1
            self._waiting.append(Waiting(waited.member, not_before_s, times_held))
        else:
            self._starter.release(waited.member)

    def ask_to_start(self, now_s: float) -> None:
        """Have members that have a slot, or are cancelled, marked as running or as cancelled."""
        for waiting in list(self._waiting):
            if waiting.start or waiting.not_before_s > now_s:
                continue
            if lack := self._slots.lacks(
                gpus=waiting.member.gpus, memory_gb=waiting.member.memory_gb
            ):
                self._waiting.remove(waiting)
                self._record_misfit(waiting, lack)
                continue
            run = self._folder.experiment.run(waiting.member.name)
            is_cancelled = run in self._cancelled
            waiting.slot = None if is_cancelled else self._starter.take_slot(waiting.member)
            if waiting.slot or is_cancelled:
                waiting.start = self._records.start(run)

    def pop_startable(
        self, stopping: bool, now_s: float
    ) -> Iterator[tuple[Waiting, RunFolder, int, Slot]]:
        """Yield each member that is marked as running, with its attempt and slot: start it now."""
        for waiting in [each for each in self._waiting if each.start and each.start.is_done]:
            assert waiting.start
            self._waiting.remove(waiting)
            run = self._folder.experiment.run(waiting.member.name)
            attempt = waiting.start.answer
            if attempt is not None and waiting.slot and not stopping:
                yield waiting, run, attempt, waiting.slot
                continue
            self._starter.free_slot(waiting.member, waiting.slot)
            if attempt is not None:
                self._records.take_back_start(run)
            if waiting.start.error:
                logger.error("%s is not started: %s", run.name, waiting.start.error)
            if attempt is not None and not stopping:  # cancelled, and submitted again at once
                self._waiting.append(Waiting(waiting.member))
            elif waiting.start.error and not stopping:
                self.try_later(waiting, now_s)
            else:
                self._starter.release(waiting.member)

    def _is_due_again(self, state: RunState, end: AttemptEnd) -> bool:
        left_to_user = end.cause == Cause.PREEMPTED and self._pack.slurm is None
        return state.status == Status.WAITING and not left_to_user

    def _record_misfit(self, waiting: Waiting, lack: str) -> None:
        """Record that a member needs another node: this one can never hold it."""
        if self._slots.lacks_gpus(waiting.member.gpus):
            self._health.note_too_few_gpus(waiting.member.name, lack)
        end = AttemptEnd(
            cause=Cause.NODE_FAILURE,
            reason=f"{self._node.name} {lack}",
            can_be_retried=self._pack.slurm is not None,
        )
        run = self._folder.experiment.run(waiting.member.name)

        def find_end(state: RunState) -> AttemptEnd | None:
            if not is_unfinished(self._folder, state):
                return None
            if run.cancel_request.exists():  # the job is not to come back for it
                return AttemptEnd(cause=Cause.CANCELLED, reason=CANCELLED)
            return end

        self.record_end(waiting, find_end, is_misfit=True)

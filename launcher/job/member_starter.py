"""Give a member its slot on a node, and start its ranks there."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Sequence

from launcher.errors import LockHeldError
from launcher.experiment.experiment_folder import PackFolder
from launcher.job.attempt_end import AttemptEnd
from launcher.job.bad_nodes import NodeHealth
from launcher.job.bookkeeping import MemberRecords, PackRecords
from launcher.job.member_ranks import MemberRanks
from launcher.job.multi_node_rendezvous import MemberRendezvous
from launcher.job.node import ThisNode
from launcher.job.pack import Member, PackEventKind
from launcher.job.slots import Slot, Slots
from trainers import exit_codes
from trainers.run.failure_class import exit_code_of
from trainers.run.run_folder import RunFolder
from trainers.run.run_state import Cause, EventKind

logger = logging.getLogger(__name__)

_NOT_SHARED = (
    "the GPUs here take one process each (compute mode EXCLUSIVE_PROCESS, without MPS), so runs "
    "with a share of one have it to themselves, one after the other; use resources.gpus: 1, or ask "
    "an administrator for the compute mode DEFAULT"
)

Command = Callable[[RunFolder, int, str], Sequence[str]]
"""Builds the command line for a run folder, the number of an attempt, and a lease owner."""


def trainer_command(folder: RunFolder, attempt: int, owner: str) -> Sequence[str]:
    """Return the command that starts or resumes a run."""
    arguments = [str(folder.path), "--attempt", str(attempt), "--owner", owner]
    return [sys.executable, "-m", "trainers", *arguments]


class MemberStarter:
    """Starts members on one node, each in its own slot.

    A member that spans several nodes keeps its slot between attempts: if another member took the
    slot on one node, all of its nodes would wait.
    """

    def __init__(
        self,
        folder: PackFolder,
        slots: Slots,
        node: ThisNode,
        command: Command,
        pack_records: PackRecords,
        member_records: MemberRecords,
        health: NodeHealth,
    ) -> None:
        self._folder = folder
        self._pack_records = pack_records
        self._member_records = member_records
        self._health = health
        self._slots = slots
        self._node = node
        self._command = command
        self._kept: dict[str, Slot] = {}
        self._rendezvous: dict[str, MemberRendezvous] = {}
        self._last_refusal = ""
        self._is_sharing_told = False

    def take_slot(self, member: Member) -> Slot | None:
        """Return a slot for the member; None while too little of the node is free."""
        if self._health.is_checking:
            return None
        if member.name in self._kept:
            return self._kept[member.name]
        position = member.nodes.index(self._node.index)
        try:
            slot = self._slots.take(
                gpus=member.gpus,
                cpus=member.cpus,
                memory_gb=member.memory_gb,
                planned=member.planned_gpus[position] if member.planned_gpus else (),
                avoided=self._health.faulty_gpus,
            )
        except (OSError, LockHeldError) as error:  # /tmp is full, say: those that train go on
            if str(error) != self._last_refusal:
                logger.warning("%s: no slot for now: %s", member.name, error)
            self._last_refusal = str(error)
            return None
        if slot and len(member.nodes) > 1:
            self._kept[member.name] = slot
        return slot

    def start(
        self, member: Member, folder: RunFolder, attempt: int, slot: Slot
    ) -> MemberRanks | AttemptEnd:
        """Start the ranks of an attempt; if that fails, return how it ended."""
        command = self._command(folder, attempt, self._folder.name)
        try:
            ranks = MemberRanks(
                member, folder, command, attempt=attempt, node=self._node.index, slot=slot
            )
        except OSError as error:
            passes = exit_code_of(error, folder.path) == exit_codes.UNAVAILABLE
            return AttemptEnd(
                cause=Cause.UNAVAILABLE if passes else Cause.CRASHED,
                reason=f"{command[0]} could not be started: {error}",
                can_be_retried=passes,
            )
        share = member.gpus if member.gpus < 1 else 1
        if slot.gpus and share < 1 and not slot.machine.shares_gpus:
            share = 1
            self._tell_not_shared()
        self._member_records.put_event(
            folder,
            EventKind.LAUNCHED,
            attempt=attempt,
            pack=self._folder.name,
            job=self._node.job,
            node=self._node.name,
            pids=ranks.pids,
            gpus=slot.gpus,
            share=share,
            cores=slot.cores,
            logs=ranks.logs,
        )
        logger.info("%s: attempt %d, processes %s", member.name, attempt, ranks.pids)
        return ranks

    def _tell_not_shared(self) -> None:
        if not self._is_sharing_told:
            logger.warning("%s", _NOT_SHARED)
            self._pack_records.put_event(
                PackEventKind.NOT_SHARED, node=self._node.name, reason=_NOT_SHARED
            )
        self._is_sharing_told = True

    def free_slot(self, member: Member, slot: Slot | None) -> None:
        """Free the slot of an attempt that has ended, or was not made, unless it is kept."""
        if slot and len(member.nodes) == 1:
            slot.close()

    def release(self, member: Member) -> None:
        """Free the slot that is kept: the member will have no further attempt on this node."""
        if len(member.nodes) == 1:
            return
        if slot := self._kept.pop(member.name, None):
            slot.close()
        if member.nodes[0] == self._node.index:
            self.rendezvous(member).close()

    def rendezvous(self, member: Member) -> MemberRendezvous:
        """Return where the nodes of a member coordinate their attempts."""
        if member.name not in self._rendezvous:
            self._rendezvous[member.name] = MemberRendezvous(
                self._folder, self._pack_records, member, start=self._node.start
            )
        return self._rendezvous[member.name]

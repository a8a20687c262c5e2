"""Give a member its slot on a node, and start its processes there."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Sequence

from launcher.experiment.experiment_folder import PackFolder
from launcher.job.member_ranks import MemberRanks
from launcher.job.multi_node_rendezvous import MemberCall
from launcher.job.node import ThisNode
from launcher.job.pack import Member
from launcher.job.slots import Slot, Slots
from trainers.run.run_folder import RunFolder
from trainers.run.run_state import EventKind, append_event

logger = logging.getLogger(__name__)

Command = Callable[[RunFolder, int, str], Sequence[str]]
"""The program for a run folder, the number of an attempt, and an owner of leases."""


def trainer_command(folder: RunFolder, attempt: int, owner: str) -> Sequence[str]:
    """The program that carries a run on."""
    arguments = [str(folder.path), "--attempt", str(attempt), "--owner", owner]
    return [sys.executable, "-m", "trainers", *arguments]


class MemberStarter:
    """Starts members on one node, each in a slot of its own.

    A member over several nodes keeps its slot from one attempt to the next: another one in it would
    keep all of its nodes waiting.
    """

    def __init__(self, folder: PackFolder, slots: Slots, node: ThisNode, command: Command) -> None:
        self._folder = folder
        self._slots = slots
        self._node = node
        self._command = command
        self._kept: dict[str, Slot] = {}

    def take_slot(self, member: Member) -> Slot | None:
        """None while too little of the node is free."""
        if member.name in self._kept:
            return self._kept[member.name]
        position = member.nodes.index(self._node.index)
        slot = self._slots.take(
            gpus=member.gpus,
            cpus=member.cpus,
            memory_gb=member.memory_gb,
            planned=member.planned_gpus[position] if member.planned_gpus else (),
        )
        if slot and len(member.nodes) > 1:
            self._kept[member.name] = slot
        return slot

    def start(
        self, member: Member, folder: RunFolder, attempt: int, slot: Slot
    ) -> MemberRanks | OSError:
        """The processes of an attempt; the error, if the program cannot be started."""
        command = self._command(folder, attempt, self._folder.name)
        try:
            ranks = MemberRanks(
                member, folder, command, attempt=attempt, node=self._node.index, slot=slot
            )
        except OSError as error:
            return OSError(f"{command[0]} could not be started: {error}")
        append_event(
            folder,
            EventKind.LAUNCHED,
            attempt=attempt,
            pack=self._folder.name,
            job=self._node.job,
            node=self._node.name,
            pids=ranks.pids,
            gpus=slot.gpus,
            share=member.gpus if member.gpus < 1 else 1,
            cores=slot.cores,
            logs=ranks.logs,
        )
        logger.info("%s: attempt %d, processes %s", member.name, attempt, ranks.pids)
        return ranks

    def let_go(self, member: Member, slot: Slot | None = None) -> None:
        """No other attempt at the member comes here."""
        if len(member.nodes) > 1:
            slot = self._kept.pop(member.name, None)
            if member.nodes[0] == self._node.index:
                self.call_of(member).dismiss()
        if slot:
            slot.close()

    def call_of(self, member: Member) -> MemberCall:
        """How the nodes of a member talk to each other."""
        return MemberCall(self._folder, member, start=self._node.start)

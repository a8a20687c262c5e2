"""The ranks of one member on one node: one process per GPU, ended together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from launcher.job.member_process import MemberProcess
from launcher.job.pack import Member
from launcher.job.slots import Slot
from trainers import exit_codes
from trainers.run.run_folder import RunFolder

RANK_LOSS_TIMEOUT_S = 20.0
"""How long the other ranks may keep running once one is lost: to log why, or to save."""
_ORDERLY = (exit_codes.FINISHED, exit_codes.STOPPED)


class MemberRanks:
    """The ranks of one attempt at a member that run on this node.

    Args:
        node: The position of this node among those of the job.
    """

    def __init__(
        self,
        member: Member,
        folder: RunFolder,
        command: Sequence[str],
        *,
        attempt: int,
        node: int,
        slot: Slot,
    ) -> None:
        self.member = member
        self.attempt = attempt
        self.killed_after_s: float | None = None
        """The grace in seconds, if a rank exceeded it and was killed."""
        self.slot = slot
        self._rank_lost_at_s: float | None = None
        self._killed_after_loss: set[int] = set()
        """Local ranks that were killed because another one was lost."""
        self._statuses: list[int | None] = []
        self._processes: list[MemberProcess] = []
        for local_rank in range(member.ranks_per_node):
            rank = member.nodes.index(node) * member.ranks_per_node + local_rank
            try:
                self._processes.append(
                    MemberProcess(
                        command,
                        slot=slot,
                        gpus=_gpus_of(slot, local_rank, member),
                        cpus=max(1, member.cpus // member.ranks_per_node),
                        log=folder.log(attempt, rank),
                        environment=_rank_environment(member, rank, local_rank),
                    )
                )
            except OSError:
                for process in self._processes:
                    process.kill()
                    process.clean_up()
                raise
            self._statuses.append(None)

    @property
    def pids(self) -> list[int]:
        return [process.pid for process in self._processes]

    @property
    def logs(self) -> list[str]:
        return [process.log.name for process in self._processes]

    def have_ended(self, now_s: float) -> bool:
        """Return whether all ranks have exited.

        Once one is lost, the rest would wait in a collective operation until it times out. They
        are killed after RANK_LOSS_TIMEOUT_S instead, and count as failed, not as killed.
        """
        for index, process in enumerate(self._processes):
            if self._statuses[index] is None and process.has_ended():
                status = process.clean_up()
                was_killed_by_us = index in self._killed_after_loss and status < 0
                self._statuses[index] = exit_codes.FAILED if was_killed_by_us else status
        if None not in self._statuses:
            return True
        if any(status not in (None, *_ORDERLY) for status in self._statuses):
            self.note_rank_lost(now_s)
        if self._rank_lost_at_s is not None and now_s > self._rank_lost_at_s + RANK_LOSS_TIMEOUT_S:
            self._killed_after_loss |= self._living()
            self.kill()
        return False

    def note_rank_lost(self, now_s: float) -> None:
        """Start the timeout of the other ranks: one is lost, on this node or on another."""
        if self._rank_lost_at_s is None:
            self._rank_lost_at_s = now_s

    def exit_status(self) -> int:
        """Return the exit status of the attempt; call it once all ranks have exited."""
        statuses = [status for status in self._statuses if status is not None]
        return joint_status(statuses)

    def decisive_log(self) -> Path:
        """Return the log of the rank whose exit status became `exit_status`."""
        status = self.exit_status()
        with_it = [index for index, each in enumerate(self._statuses) if each == status]
        return self._processes[min(with_it, key=lambda index: index in self._killed_after_loss)].log

    def ask_to_stop(self, now_s: float) -> None:
        for index in self._living():
            self._processes[index].ask_to_stop(now_s)

    def kill_after_grace(self, grace_s: float, now_s: float) -> bool:
        """Kill ranks that were asked to stop more than `grace_s` ago; return whether any were."""
        living = [self._processes[index] for index in self._living()]
        late = [process for process in living if process.has_exceeded_grace(grace_s, now_s)]
        for process in late:
            process.kill()
        if late:
            self.killed_after_s = grace_s
        return bool(late)

    def kill(self) -> None:
        """Kill all ranks at once, without asking them to stop first."""
        for index in self._living():
            self._processes[index].kill()

    def _living(self) -> set[int]:
        return {index for index, status in enumerate(self._statuses) if status is None}


_PRECEDENCE = (
    exit_codes.OUT_OF_MEMORY,
    exit_codes.UNUSABLE,
    exit_codes.NON_FINITE,
    exit_codes.NODE_FAULT,
    "killed",
    exit_codes.UNAVAILABLE,
    "failed",
    exit_codes.HANG,  # ranks that wait for one that has failed hang, too
    exit_codes.RANK_LOST,
    exit_codes.STOPPED,
    exit_codes.FINISHED,
)
"""Exit statuses of ranks; the first one explains the others."""


def joint_status(statuses: Sequence[int]) -> int:
    """Return the one exit status, of those of all ranks, that explains the end of the attempt.

    A rank that reported a cause or was killed takes precedence over ranks that failed because they
    lost it, and these over ranks that stopped or finished in good order.
    """
    return min(statuses, key=_precedence)


def _precedence(status: int) -> int:
    if status < 0:
        return _PRECEDENCE.index("killed")
    return _PRECEDENCE.index(status if status in _PRECEDENCE else "failed")


def _gpus_of(slot: Slot, local_rank: int, member: Member) -> tuple[str, ...]:
    """Return the GPU of one rank; () if the slot has none."""
    if member.ranks_per_node == 1:
        return slot.gpus
    return slot.gpus[local_rank : local_rank + 1]


def _rank_environment(member: Member, rank: int, local_rank: int) -> dict[str, str]:
    """Return the variables that torch.distributed reads; {} for a run with a single process."""
    if member.num_ranks == 1:
        return {}
    return {
        "RANK": str(rank),
        "WORLD_SIZE": str(member.num_ranks),
        "LOCAL_RANK": str(local_rank),
        "LOCAL_WORLD_SIZE": str(member.ranks_per_node),
    }

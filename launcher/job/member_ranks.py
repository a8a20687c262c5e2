"""The processes of one member on one node: one per GPU, ended together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from launcher.job.member_process import MemberProcess
from launcher.job.pack import Member
from launcher.job.slots import Slot
from trainers import exit_codes
from trainers.run.run_folder import RunFolder

OTHERS_WAIT_S = 20.0
"""How long the ranks of a run that has lost one may go on, to say why or to save."""


_ORDERLY = (exit_codes.FINISHED, exit_codes.STOPPED)


class MemberRanks:
    """One attempt at a member, as far as it runs on this node.

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
        """The grace, if some outstayed it."""
        self.slot = slot
        self._hurry_at_s: float | None = None
        self._hurried: set[int] = set()
        """Ranks that were killed because another one is lost."""
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
        """Whether all are gone; what is left of one that lost another is killed after a while."""
        for index, process in enumerate(self._processes):
            if self._statuses[index] is None and process.has_ended():
                status = process.clean_up()
                lost_others = index in self._hurried and status < 0
                self._statuses[index] = exit_codes.FAILED if lost_others else status
        if None not in self._statuses:
            return True
        if any(status not in (None, *_ORDERLY) for status in self._statuses):
            self.hurry(now_s)
        if self._hurry_at_s is not None and now_s > self._hurry_at_s + OTHERS_WAIT_S:
            self._hurried |= self._living()
            self.kill()
        return False

    def hurry(self, now_s: float) -> None:
        """Another rank is lost, here or elsewhere: these cannot go on."""
        if self._hurry_at_s is None:
            self._hurry_at_s = now_s

    def exit_status(self) -> int:
        """The one of the attempt, once all have ended: that of the rank that tells the most."""
        statuses = [status for status in self._statuses if status is not None]
        return joint_status(statuses)

    def telling_log(self) -> Path:
        """The log of the rank that `exit_status` is about."""
        status = self.exit_status()
        with_it = [index for index, each in enumerate(self._statuses) if each == status]
        return self._processes[min(with_it, key=lambda index: index in self._hurried)].log

    def ask_to_stop(self, now_s: float) -> None:
        for index in self._living():
            self._processes[index].ask_to_stop(now_s)

    def kill_if_outstayed(self, grace_s: float, now_s: float) -> bool:
        """Kill those that were asked to stop longer than `grace_s` ago; whether there were any."""
        living = [self._processes[index] for index in self._living()]
        late = [process for process in living if process.has_outstayed(grace_s, now_s)]
        for process in late:
            process.kill()
        if late:
            self.killed_after_s = grace_s
        return bool(late)

    def kill(self) -> None:
        """End them all, without a word."""
        for index in self._living():
            self._processes[index].kill()

    def _living(self) -> set[int]:
        return {index for index, status in enumerate(self._statuses) if status is None}


def joint_status(statuses: Sequence[int]) -> int:
    """What the exit statuses of all ranks together say about the attempt.

    A rank that could tell what is wrong, or was killed, comes before those that have only lost it,
    and these before the ones that did as they were told.
    """
    return min(statuses, key=_how_little_it_tells)


def _how_little_it_tells(status: int) -> int:
    in_order = (exit_codes.OUT_OF_MEMORY, exit_codes.UNUSABLE)
    if status in in_order:
        return in_order.index(status)
    if status < 0:
        return 2
    return {exit_codes.STOPPED: 4, exit_codes.FINISHED: 5}.get(status, 3)


def _gpus_of(slot: Slot, local_rank: int, member: Member) -> tuple[str, ...]:
    """The GPU of one rank; none where the slot has none."""
    if member.ranks_per_node == 1:
        return slot.gpus
    return slot.gpus[local_rank : local_rank + 1]


def _rank_environment(member: Member, rank: int, local_rank: int) -> dict[str, str]:
    """What torch.distributed reads; nothing for a run of a single process."""
    if member.num_ranks == 1:
        return {}
    return {
        "RANK": str(rank),
        "WORLD_SIZE": str(member.num_ranks),
        "LOCAL_RANK": str(local_rank),
        "LOCAL_WORLD_SIZE": str(member.ranks_per_node),
    }

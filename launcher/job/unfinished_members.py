"""The members of a pack that it still has to do."""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from launcher import file_lock
from launcher.experiment.experiment_folder import PackFolder
from launcher.job.pack import Member
from trainers.run.run_folder import RunFolder
from trainers.run.run_state import RunState, Status, read_state, write_state

UNFINISHED = (Status.SUBMITTED, Status.RUNNING, Status.WAITING)


def unfinished(folder: PackFolder, members: Iterable[Member]) -> list[Member]:
    """Those that no later pack has, and that are not over."""
    return [member for member in members if _is_left(folder, folder.experiment.run(member.name))]


def _is_left(folder: PackFolder, run: RunFolder) -> bool:
    state = read_state(run)
    return is_unfinished(folder, state) or (is_of_pack(folder, state) and is_unjudged(run, state))


def is_unfinished(folder: PackFolder, state: RunState) -> bool:
    return is_of_pack(folder, state) and state.status in UNFINISHED


def is_unjudged(run: RunFolder, state: RunState) -> bool:
    """Whether a trainer has told of its failure, and nobody yet of what becomes of the run."""
    return state.status == Status.FAILED and run.log(state.num_attempts).exists()


def is_of_pack(folder: PackFolder, state: RunState) -> bool:
    """Whether the pack has the run, and no later one does."""
    return state.pack == folder.name


def settle(folder: PackFolder, members: Iterable[Member], *, status: str, reason: str) -> None:
    """Say what becomes of the members that are not over, now that the job is."""
    with file_lock.hold(folder.experiment.lock):
        for member in unfinished(folder, members):
            run = folder.experiment.run(member.name)
            write_state(run, attrs.evolve(read_state(run), status=status, reason=reason))


CANCELLED = "cancelled before it was started"
"""Why a run is over that nobody was training."""

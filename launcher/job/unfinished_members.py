"""The members of a pack that are not over, and the pack that owns a run."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import attrs

from launcher import file_lock
from launcher.errors import LockHeldError
from launcher.experiment.experiment_folder import PackFolder
from launcher.job.pack import Member
from trainers.errors import ConfigError, UnavailableError
from trainers.run.run_folder import RunFolder
from trainers.run.run_state import RunState, Status, read_state, write_state

logger = logging.getLogger(__name__)

_NUM_READERS = 16
UNFINISHED = (Status.SUBMITTED, Status.RUNNING, Status.WAITING)
CANCELLED = "cancelled before it was started"
"""The reason of a run that was cancelled while nothing was training it."""


def unfinished(folder: PackFolder, members: Iterable[Member]) -> list[Member]:
    """Return the members that are not over and not assigned to a later pack."""
    members = list(members)
    runs = [folder.experiment.run(member.name) for member in members]
    # At once: on a disk that is away each takes some seconds, and a job's grace may be running.
    with ThreadPoolExecutor(_NUM_READERS) as readers:
        are_left = list(readers.map(partial(_is_left, folder), runs))
    return [member for member, is_left in zip(members, are_left, strict=True) if is_left]


def is_unfinished(folder: PackFolder, state: RunState) -> bool:
    """Return whether the run belongs to the pack and is not over."""
    return is_of_pack(folder, state) and state.status in UNFINISHED


def awaits_retry_decision(run: RunFolder, state: RunState) -> bool:
    """Return whether a trainer has recorded its failure, but no supervisor has counted it yet."""
    return state.status == Status.FAILED and run.log(state.num_attempts).exists()


def is_of_pack(folder: PackFolder, state: RunState) -> bool:
    """Return whether the run is assigned to this pack, and not to a later one."""
    return state.pack == folder.name


def mark_ended(folder: PackFolder, members: Iterable[Member], *, status: str, reason: str) -> None:
    """Record a status and a reason for the unfinished members of a pack whose job has ended."""
    for member in members:
        run = folder.experiment.run(member.name)
        try:
            with file_lock.hold(run.state_lock):
                state = read_state(run)
                if _is_left_in(folder, run, state):
                    write_state(run, attrs.evolve(state, status=status, reason=reason))
        except (OSError, LockHeldError, ConfigError) as error:
            logger.error("%s: could not record %r: %s", member.name, reason, error)


def _is_left(folder: PackFolder, run: RunFolder) -> bool:
    """Return whether a run is not over, as far as can be known: if it cannot be read, it is not."""
    try:
        return _is_left_in(folder, run, read_state(run))
    except (OSError, UnavailableError) as error:
        logger.warning("%s counts as unfinished: %s", run.name, error)
        return True
    except ConfigError as error:
        logger.error("%s is left alone: %s", run.name, error)
        return False


def _is_left_in(folder: PackFolder, run: RunFolder, state: RunState) -> bool:
    return is_unfinished(folder, state) or (
        is_of_pack(folder, state) and awaits_retry_decision(run, state)
    )

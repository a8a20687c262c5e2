"""Faults while a run is restored: it resumes from its newest checkpoint, or does not start."""

from __future__ import annotations

import errno
import logging
import shutil

from scripts.stress.fuzz_checkpoint.counting_state import CountingState, mistakes
from scripts.stress.fuzz_checkpoint.file_faults import ALL, WRITING, Fault
from scripts.stress.fuzz_checkpoint.findings import open_store, wrong_in
from scripts.stress.fuzz_checkpoint.steps import Protocol, Trial
from trainers.checkpoints import Checkpoint
from trainers.errors import CheckpointError

NUM_BYTES = 17_000
"""So that there are two chunks."""

AFTER_CREATION = tuple(each for each in ALL if each != "mkdir")
"""A folder that has vanished before that is one of a run that has not begun."""
FAULTS = {
    "EIO": Fault(action="fail", number=errno.EIO),
    "EIO-lasting": Fault(action="fail", number=errno.EIO, is_lasting=True),
    "EIO-though-done": Fault(action="fail_after", number=errno.EIO),
    "EACCES": Fault(action="fail", number=errno.EACCES),
    "EACCES-lasting": Fault(action="fail", number=errno.EACCES, is_lasting=True),
    "ENOSPC": Fault(action="fail", number=errno.ENOSPC, operations=WRITING, is_lasting=True),
    "EROFS": Fault(action="fail", number=errno.EROFS, operations=WRITING, is_lasting=True),
    "EMFILE": Fault(action="fail", number=errno.EMFILE, operations=("open", "list")),
    "short": Fault(action="shorten", operations=("read",)),
    "short-lasting": Fault(action="shorten", operations=("read",), is_lasting=True),
    "vanished": Fault(action="vanish", operations=AFTER_CREATION),
    "kill": Fault(action="kill"),
    "kill-after": Fault(action="kill_after"),
}


def undergo(trial: Trial) -> None:
    """There are the checkpoints 1 and 2, and what a killed attempt has left of a third one."""
    store, state = open_store(trial.checkpoints), CountingState(NUM_BYTES)
    for iteration in (1, 2):
        state.advance(iteration)
        store.save(iteration, state.state_dict())
    shutil.copytree(
        trial.checkpoints / "iteration-000000002",
        trial.checkpoints / ".tmp-iteration-000000003-dead",
    )
    told: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: told.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("trainers").addHandler(handler)
    trial.arm()
    try:
        newest = open_store(trial.checkpoints).newest()
    except (CheckpointError, OSError) as error:
        trial.say("seen a refusal to begin")
        if trial.fault.action == "shorten":
            trial.say(f"wrong it refused: {error!r}")
    else:
        _is_right(trial, newest, told)
    trial.faults.disarm()
    gone = trial.checkpoints.with_suffix(".gone")
    if gone.exists() and not trial.checkpoints.exists():
        gone.rename(trial.checkpoints)


def _is_right(trial: Trial, newest: Checkpoint | None, told: list[str]) -> None:
    if newest is None:
        trial.say(f"wrong the run would have begun anew: {told}")
        return
    for each in mistakes(newest.iteration, newest.state):
        trial.say(f"wrong {each}")
    if newest.iteration == 1:
        trial.say("seen the checkpoint before the newest")
        trial.say(f"wrong only damage makes one go back: {told}")
        if not any("iteration-000000002" in each for each in told):
            trial.say(f"wrong it went back to 1, and did not say so: {told}")


def go_on(trial: Trial) -> None:
    """The next attempt finds the newest one: no fault here is damage."""
    store = open_store(trial.checkpoints)
    newest = store.newest()
    if newest is None or newest.iteration != 2:
        trial.say(f"wrong afterwards {newest and newest.iteration} is restored")
    for each in wrong_in(trial.checkpoints):
        trial.say(f"wrong {each}")
    state = CountingState(NUM_BYTES)
    state.advance(3)
    store.save(3, state.state_dict())
    newest = store.newest()
    if newest is None or newest.iteration != 3:
        trial.say(f"wrong in the end 3 was saved, and {newest and newest.iteration} restored")


RESTORING = Protocol(name="restoring", undergo=undergo, go_on=go_on, faults=FAULTS)

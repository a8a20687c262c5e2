"""Faults while a training saves: it continues, says so, and what was saved before stands."""

from __future__ import annotations

import errno
import logging
import os
from pathlib import Path

from scripts.stress.fuzz_checkpoint.counting_state import CountingState, mistakes
from scripts.stress.fuzz_checkpoint.file_faults import Fault
from scripts.stress.fuzz_checkpoint.findings import IDENTITY, open_store, wrong_in
from scripts.stress.fuzz_checkpoint.steps import Protocol, Trial
from scripts.workloads.file_calls import ALL, WRITING
from trainers.checkpoints import CheckpointReader
from trainers.checkpoints.async_checkpointer import AsyncCheckpointer, Commit
from trainers.checkpoints.layout import folder_name
from trainers.errors import CheckpointError

SMALL, TWO_CHUNKS = 100_000, 17_000_000
"""Bytes of a state."""
SLOW_MS = 100
ALLOCATING = ("create", "write", "truncate", "mkdir", "rename", "fsync", "close")
IN_FLIGHT = 100
"""The iteration of a save that must be skipped."""

FAULTS = {
    "ENOSPC": Fault(action="fail", number=errno.ENOSPC, operations=ALLOCATING),
    "ENOSPC-lasting": Fault(
        action="fail", number=errno.ENOSPC, operations=ALLOCATING, is_lasting=True
    ),
    "EDQUOT": Fault(action="fail", number=errno.EDQUOT, operations=ALLOCATING),
    "EDQUOT-lasting": Fault(
        action="fail", number=errno.EDQUOT, operations=ALLOCATING, is_lasting=True
    ),
    "EIO": Fault(action="fail", number=errno.EIO),
    "EIO-lasting": Fault(action="fail", number=errno.EIO, is_lasting=True),
    "EIO-though-done": Fault(action="fail_after", number=errno.EIO),
    "EROFS": Fault(action="fail", number=errno.EROFS, operations=WRITING, is_lasting=True),
    "EINVAL": Fault(action="fail", number=errno.EINVAL, operations=("create", "write")),
    "short": Fault(action="shorten", operations=("write", "read")),
    "short-lasting": Fault(action="shorten", operations=("write", "read"), is_lasting=True),
    "slow": Fault(action="sleep", number=SLOW_MS),
    "vanished": Fault(action="vanish"),
    "kill": Fault(action="kill"),
    "kill-after": Fault(action="kill_after"),
}
HARMLESS_ACTIONS = ("shorten", "sleep")
"""In spite of these, a save succeeds."""


class _Training:
    """Saves as `trainers.training.train_loop` does, and remembers what it was told."""

    def __init__(self, trial: Trial, num_bytes: int) -> None:
        self.committed = 0
        self.told: list[str] = []
        self._trial = trial
        self._state = CountingState(num_bytes)
        self.saver = AsyncCheckpointer(open_store(trial.checkpoints), on_commit=self._note)
        self.saver.prepare(self._state.state_dict())
        handler = logging.Handler(logging.WARNING)
        handler.emit = lambda record: self.told.append(record.getMessage())  # type: ignore[method-assign]
        logging.getLogger("trainers").addHandler(handler)

    def save_in_background(self, iteration: int) -> None:
        self._state.advance(iteration)
        is_begun = self.saver.start(iteration, self._state.state_dict())
        self._state.advance(0)  # what training does to the weights while they are being written
        if not is_begun:
            self._trial.say(f"wrong {iteration} was skipped, though nothing was in flight")
        if self._trial.fault.action == "sleep" and self.saver.start(IN_FLIGHT, {}):
            self._trial.say("wrong a save was begun while the one before was in flight")
        try:
            self.saver.wait()
        except CheckpointError:
            return

    def save(self, iteration: int) -> None:
        self._state.advance(iteration)
        self.saver.save(iteration, self._state.state_dict())

    def _note(self, commit: Commit) -> None:
        self.committed = commit.iteration
        self._trial.say(f"committed {commit.iteration}")


def undergo(trial: Trial, num_bytes: int) -> None:
    training = _Training(trial, num_bytes)
    for iteration in (1, 2):
        training.save(iteration)
    trial.arm()
    for iteration in (3, 4) if trial.fault.is_lasting else (3,):
        training.save_in_background(iteration)
    trial.faults.disarm()
    _not_on_the_training_thread(trial)
    gone = trial.checkpoints.with_suffix(".gone")
    if gone.exists() and not trial.checkpoints.exists():
        gone.rename(trial.checkpoints)
    _earlier_ones_stand(trial, training.committed)
    if training.committed < iteration:
        _is_told(trial, training.told)
    elif trial.fault.operations == ALL and not trial.fault.is_lasting:
        _is_flushed(trial, iteration)
    training.save(5)
    if _newest(trial.checkpoints) != 5:
        trial.say(f"wrong afterwards 5 was saved, and {_newest(trial.checkpoints)} restored")
    training.saver.close()


def go_on(trial: Trial) -> None:
    """The next process finds what was acknowledged, and no leftovers, and saves."""
    training = _Training(trial, SMALL)
    for each in wrong_in(trial.checkpoints):
        trial.say(f"wrong {each}")
    _earlier_ones_stand(trial, trial.acknowledged)
    training.save(6)
    if _newest(trial.checkpoints) != 6:
        trial.say(f"wrong in the end 6 was saved, and {_newest(trial.checkpoints)} restored")
    training.saver.close()


def _newest(checkpoints: Path) -> int | None:
    """Its iteration."""
    newest = CheckpointReader(checkpoints, fingerprint=IDENTITY).newest()
    return newest.iteration if newest else None


def _earlier_ones_stand(trial: Trial, acknowledged: int) -> None:
    newest = CheckpointReader(trial.checkpoints, fingerprint=IDENTITY).newest()
    if newest is None or newest.iteration < acknowledged:
        restored = newest.iteration if newest else None
        trial.say(f"wrong {acknowledged} was acknowledged, and {restored} restored")
    elif found := mistakes(newest.iteration, newest.state):
        trial.say(f"wrong {found}")


def _not_on_the_training_thread(trial: Trial) -> None:
    faults = trial.faults
    for number in range(1, faults.num_calls + 1):
        if faults.thread(number) == os.getpid():
            trial.say(f"wrong the training itself waits for: {faults.call(number)}")


def _is_flushed(trial: Trial, iteration: int) -> None:
    """Of a checkpoint that was acknowledged: all of it was on disk before its rename, and that too.

    What a power failure would show; told from the calls that have succeeded.
    """
    failed = trial.step if trial.fault.action in ("fail", "fail_after") else None
    numbers = range(1, trial.faults.num_calls + 1)
    calls = [trial.faults.call(number) for number in numbers if number != failed]
    (rename,) = (each for each in calls if each.startswith(f"rename {_temporary(iteration)}"))
    before, after = calls[: calls.index(rename)], calls[calls.index(rename) :]
    folder = rename.removeprefix("rename ")
    flushed = {"/checkpoints": "fsync /checkpoints" in after}
    for path in {each.removeprefix("create ") for each in before if f"create {folder}/" in each}:
        changes = [f"{operation} {path}" for operation in ("create", "write", "truncate")]
        last = max(index for index, each in enumerate(before) if each in changes)
        flushed[path] = f"fsync {path}" in before[last:]
        flushed[folder] = f"fsync {folder}" in before[last:]
    for path, is_flushed in flushed.items():
        if not is_flushed:
            trial.say(f"wrong {path} was acknowledged and not flushed")


def _temporary(iteration: int) -> str:
    return f"/checkpoints/.tmp-{folder_name(iteration)}"


def _is_told(trial: Trial, told: list[str]) -> None:
    """Why a checkpoint is not there."""
    found = [each for each in told if each.startswith("training continues without this checkpoint")]
    if trial.fault.action in HARMLESS_ACTIONS:
        trial.say(f"wrong it was not saved: {told}")
    if not found:
        trial.say(f"wrong nothing was said: {told}")
    elif trial.fault.number and os.strerror(trial.fault.number) not in found[0]:
        trial.say(f"wrong {os.strerror(trial.fault.number)} was not said: {found}")
    else:
        trial.say("seen a checkpoint that was not saved, and why")


SAVING = Protocol(
    name="saving",
    undergo=lambda trial: undergo(trial, SMALL),
    go_on=go_on,
    faults=FAULTS,
)
SAVING_CHUNKS = Protocol(
    name="saving-chunks",
    undergo=lambda trial: undergo(trial, TWO_CHUNKS),
    go_on=go_on,
    faults={name: FAULTS[name] for name in ("ENOSPC", "EIO", "EINVAL", "short-lasting", "kill")},
)

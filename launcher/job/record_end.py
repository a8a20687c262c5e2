"""What the launcher writes into a run folder when an attempt has ended."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import attrs

from launcher import file_lock
from launcher.experiment.experiment_folder import PackFolder
from launcher.job.attempt_end import AttemptEnd
from launcher.job.pack import Member
from launcher.job.requeue_policy import verdict
from launcher.job.unfinished_members import is_of_pack
from trainers.config.run_config import RetriesConfig
from trainers.run.run_folder import RunFolder
from trainers.run.run_state import (
    Cause,
    EventKind,
    RunState,
    Status,
    append_event,
    read_state,
    write_state,
)

_TAIL_BYTES = 4096
_TAIL_LINES = 5


def record_end(folder: RunFolder, end: AttemptEnd, retries: RetriesConfig) -> RunState:
    """Count an ended attempt under its cause, and decide what becomes of the run.

    What the trainer itself wrote about a failure stays. The caller holds the experiment's lock.
    """
    state = read_state(folder)
    if state.status == Status.FAILED and state.reason:
        end = attrs.evolve(end, reason=state.reason)
    attempt = state.num_attempts
    state = state.ended(cause=end.cause, status=Status.WAITING, reason=end.reason)
    judged = verdict(state, end, retries)
    state = attrs.evolve(state, status=judged.status, reason=judged.reason)
    write_state(folder, state)
    append_event(
        folder,
        EventKind.ENDED,
        attempt=attempt,
        cause=end.cause,
        reason=judged.reason,
        iteration=state.iteration,
        saved=state.saved_iteration,
    )
    return state


def count_finished(pack: PackFolder, members: Iterable[Member]) -> None:
    """Count attempts that finished their runs, and whose supervisor died before it could."""
    with file_lock.hold(pack.experiment.lock):
        for member in members:
            run = pack.experiment.run(member.name)
            state = read_state(run)
            is_uncounted = state.status == Status.FINISHED and run.log(state.num_attempts).exists()
            if is_uncounted and is_of_pack(pack, state):
                record_end(run, AttemptEnd(cause=Cause.FINISHED), member.retries)


def last_words(log: Path) -> str:
    """The last lines of a log, after one that names it."""
    try:
        with log.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - _TAIL_BYTES))
            text = file.read().decode(errors="replace")
    except FileNotFoundError:
        return f"it left no log {log}"
    lines = [line for line in text.splitlines() if line.strip()][-_TAIL_LINES:]
    if not lines:
        return f"its log {log} is empty"
    return "\n".join([f"the end of {log}:", *lines])

"""Record the end of an attempt in its run folder, and decide whether the run is retried."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import attrs

from launcher import file_lock
from launcher.experiment.experiment_folder import PackFolder
from launcher.job.attempt_end import AttemptEnd
from launcher.job.pack import Member
from launcher.job.requeue_policy import decide_retry
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
    """Count an ended attempt under its cause, decide whether to retry, and return the new state.

    A reason that the trainer itself recorded for a failure is kept. The caller holds the
    experiment's lock.
    """
    state = read_state(folder)
    if state.status == Status.FAILED and state.reason:
        end = attrs.evolve(end, reason=state.reason)
    attempt = state.num_attempts
    state = state.ended(cause=end.cause, status=Status.WAITING, reason=end.reason)
    decision = decide_retry(state, end, retries)
    state = attrs.evolve(state, status=decision.status, reason=decision.reason)
    write_state(folder, state)
    append_event(
        folder,
        EventKind.ENDED,
        attempt=attempt,
        cause=end.cause,
        reason=decision.reason,
        iteration=state.iteration,
        saved=state.saved_iteration,
    )
    return state


def count_finished(pack: PackFolder, members: Iterable[Member]) -> None:
    """Count attempts that finished their runs but whose supervisor died before counting them."""
    with file_lock.hold(pack.experiment.lock):
        for member in members:
            run = pack.experiment.run(member.name)
            state = read_state(run)
            is_uncounted = state.status == Status.FINISHED and run.log(state.num_attempts).exists()
            if is_uncounted and is_of_pack(pack, state):
                record_end(run, AttemptEnd(cause=Cause.FINISHED), member.retries)


def log_tail(log: Path) -> str:
    """Return the last lines of a log below a line that names it, as part of a reason."""
    try:
        lines = read_tail(log, num_lines=_TAIL_LINES, num_bytes=_TAIL_BYTES)
    except FileNotFoundError:
        return f"it left no log {log}"
    if not lines:
        return f"its log {log} is empty"
    return "\n".join([f"the end of {log}:", *lines])


def read_tail(path: Path, *, num_lines: int, num_bytes: int) -> list[str]:
    """Return the last lines of a text file that are not blank, from its last bytes only.

    Raises:
        FileNotFoundError: The file does not exist.
    """
    with path.open("rb") as file:
        file.seek(0, os.SEEK_END)
        file.seek(max(0, file.tell() - num_bytes))
        text = file.read().decode(errors="replace")
    return [line for line in text.splitlines() if line.strip()][-num_lines:]

"""Record the end of an attempt in its run folder, and decide whether the run is retried."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import attrs

from launcher import file_lock
from launcher.errors import LockHeldError
from launcher.experiment.experiment_folder import PackFolder
from launcher.job.attempt_end import AttemptEnd
from launcher.job.pack import Member
from launcher.job.requeue_policy import decide_retry
from launcher.job.unfinished_members import is_of_pack, is_unfinished
from trainers.config.run_config import RetriesConfig
from trainers.errors import ConfigError
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

logger = logging.getLogger(__name__)

_TAIL_BYTES = 4096
_TAIL_LINES = 5


def record_end(folder: RunFolder, end: AttemptEnd, retries: RetriesConfig) -> RunState:
    """Count an ended attempt under its cause, decide whether to retry, and return the new state.

    The caller holds the run's lock.
    """
    state, details = count_end(read_state(folder), end, retries)
    write_state(folder, state)
    append_event(folder, EventKind.ENDED, **details)
    return state


def count_end(
    before: RunState, end: AttemptEnd, retries: RetriesConfig
) -> tuple[RunState, dict[str, Any]]:
    """Return the state after an attempt has ended, and the details of the event; write nothing.

    A reason that the trainer itself recorded for a failure is kept.
    """
    if before.status == Status.FAILED and before.reason:
        end = attrs.evolve(end, reason=before.reason)
    state = before.ended(cause=end.cause, status=Status.WAITING, reason=end.reason)
    decision = decide_retry(state, end, retries)
    state = attrs.evolve(state, status=decision.status, reason=decision.reason)
    details = {
        "attempt": before.num_attempts,
        "cause": end.cause,
        "reason": decision.reason,
        "iteration": state.iteration,
        "saved": state.saved_iteration,
    }
    return state, details


def count_finished(pack: PackFolder, members: Iterable[Member]) -> None:
    """Count attempts that finished their runs but whose supervisor died before counting them."""
    for member in members:
        run = pack.experiment.run(member.name)
        try:
            with file_lock.hold(run.state_lock):
                if is_uncounted_finish(pack, run, read_state(run)):
                    record_end(run, AttemptEnd(cause=Cause.FINISHED), member.retries)
        except (OSError, LockHeldError, ConfigError) as error:
            logger.warning("%s: not counted for now: %s", member.name, error)


def is_uncounted_finish(pack: PackFolder, run: RunFolder, state: RunState) -> bool:
    """Return whether a run of the pack has finished in an attempt that is not counted yet."""
    has_finished = state.status == Status.FINISHED and is_of_pack(pack, state)
    return has_finished and run.log(state.num_attempts).exists()


def is_uncounted_loss(pack: PackFolder, run: RunFolder, state: RunState) -> bool:
    """Return whether an attempt at a run of the pack has ended uncounted, its run unfinished."""
    began = state.status == Status.RUNNING or run.log(state.num_attempts).exists()
    uncounted = is_unfinished(pack, state) or state.status == Status.FAILED
    return began and uncounted and is_of_pack(pack, state)


def log_tail(log: Path) -> str:
    """Return the last lines of a log below a line that names it, as part of a reason."""
    try:
        lines = read_tail(log, num_lines=_TAIL_LINES, num_bytes=_TAIL_BYTES)
    except FileNotFoundError:
        return f"it left no log {log}"
    except OSError as error:
        return f"its log cannot be read: {error}"
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

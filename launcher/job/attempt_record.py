"""What the launcher writes into a run folder when an attempt has ended."""

from __future__ import annotations

from pathlib import Path

import attrs

from launcher.job.attempt_end import AttemptEnd
from launcher.job.requeue_policy import verdict
from trainers.run_config import RetriesConfig
from trainers.run_folder import RunFolder
from trainers.run_state import RunState, append_event, read_state, write_state

_TAIL_BYTES = 4096
_TAIL_LINES = 5


def record_end(folder: RunFolder, end: AttemptEnd, retries: RetriesConfig) -> RunState:
    """Count an ended attempt under its cause, and decide what becomes of the run.

    What the trainer itself wrote about a failure stays. The caller holds the experiment's lock.
    """
    state = read_state(folder)
    if state.status == "failed" and state.reason:
        end = attrs.evolve(end, reason=state.reason)
    attempt = state.num_attempts
    state = state.ended(cause=end.cause, status="waiting", reason=end.reason)
    judged = verdict(state, end, retries)
    state = attrs.evolve(state, status=judged.status, reason=judged.reason)
    write_state(folder, state)
    append_event(
        folder,
        "ended",
        attempt=attempt,
        cause=end.cause,
        reason=judged.reason,
        iteration=state.iteration,
        saved=state.saved_iteration,
    )
    return state


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

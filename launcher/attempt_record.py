"""What the launcher writes into a run folder when an attempt begins and ends."""

from __future__ import annotations

from pathlib import Path

import attrs

from launcher.attempt_end import AttemptEnd, attempt_end
from trainers.run_folder import RunFolder
from trainers.run_state import RunState, append_event, read_state, write_state

_TAIL_BYTES = 4096
_TAIL_LINES = 5


def record_start(folder: RunFolder, state: RunState) -> None:
    """Say that a run is running before its process exists: from now on nobody else may start it."""
    write_state(folder, attrs.evolve(state, status="running", reason=""))


def record_exit(
    folder: RunFolder, exit_status: int, log: Path, *, killed_after_s: float | None = None
) -> None:
    """Count an ended attempt under its cause; what the trainer itself wrote about it stays.

    Args:
        exit_status, killed_after_s: As for `attempt_end`.
    """
    end = attempt_end(
        exit_status,
        cancel_requested=folder.cancel_request.exists(),
        killed_after_s=killed_after_s,
        last_words=last_words(log),
    )
    record_end(folder, end, exit_status=exit_status, log=str(log))


def record_end(folder: RunFolder, end: AttemptEnd, **details: object) -> None:
    """Count an ended attempt that was judged already; `details` go into the event."""
    state = read_state(folder)
    reason = state.reason if state.status == end.status and state.reason else end.reason
    write_state(folder, state.ended(cause=end.cause, status=end.status, reason=reason))
    append_event(folder, "ended", cause=end.cause, reason=reason, **details)


def last_words(log: Path) -> str:
    """The last lines of a log, on a line each, after a line that names the log."""
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

"""What the launcher writes into a run folder when an attempt has ended."""

from __future__ import annotations

from pathlib import Path

from launcher.attempt_end import AttemptEnd, attempt_end
from trainers.run_folder import RunFolder
from trainers.run_state import append_event, read_state, write_state

_TAIL_BYTES = 4096
_TAIL_LINES = 5


def record_exit(
    folder: RunFolder, exit_status: int, *, last_words: str, killed_after_s: float | None = None
) -> None:
    """Judge an attempt that has ended, and count it; for the arguments see `attempt_end`.

    The caller holds the experiment's lock.
    """
    end = attempt_end(
        exit_status,
        cancel_requested=folder.cancel_request.exists(),
        killed_after_s=killed_after_s,
        last_words=last_words,
    )
    record_end(folder, end)


def record_end(folder: RunFolder, end: AttemptEnd) -> None:
    """Count an ended attempt under its cause; what the trainer itself wrote about it stays."""
    state = read_state(folder)
    reason = state.reason if state.status == end.status and state.reason else end.reason
    write_state(folder, state.ended(cause=end.cause, status=end.status, reason=reason))
    append_event(folder, "ended", cause=end.cause, reason=reason)


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

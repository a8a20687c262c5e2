"""How an attempt ended: what its exit status and the requests made to it mean."""

from __future__ import annotations

import signal

from attrs import frozen

from trainers import exit_codes


@frozen(kw_only=True)
class AttemptEnd:
    """Cause and status are those of `trainers.run_state`."""

    cause: str
    status: str
    reason: str = ""


def attempt_end(
    exit_status: int, *, cancel_requested: bool, killed_after_s: float | None, last_words: str
) -> AttemptEnd:
    """Judge an attempt.

    Args:
        exit_status: As `subprocess` gives it: below 0 for the signal that ended the process.
        killed_after_s: The grace in seconds, if the supervisor killed it for outstaying that.
        last_words: The end of the attempt's log, and where to find the rest.
    """
    if exit_status == exit_codes.FINISHED:
        return AttemptEnd(cause="finished", status="finished")
    if exit_status == exit_codes.STOPPED:
        return _stopped(cancel_requested, "stopped after a checkpoint")
    if killed_after_s is not None:
        how = (
            f"did not stop within {killed_after_s:g} s and was killed; back to its last checkpoint"
        )
        return _stopped(cancel_requested, how)
    if exit_status == -signal.SIGTERM:
        return _stopped(cancel_requested, "stopped by SIGTERM while it was starting or ending")
    if exit_status == -signal.SIGKILL:
        reason = "killed by SIGKILL: out of memory (`dmesg` knows), or by hand"
    elif exit_status < 0:
        name = signal.strsignal(-exit_status)
        reason = f"ended by signal {-exit_status} ({name}); {last_words}"
    else:
        reason = f"exit code {exit_status}; {last_words}"
    return AttemptEnd(cause="crashed", status="failed", reason=reason)


def _stopped(cancel_requested: bool, how: str) -> AttemptEnd:
    if cancel_requested:
        return AttemptEnd(cause="cancelled", status="cancelled", reason=how)
    return AttemptEnd(cause="preempted", status="waiting", reason=how)

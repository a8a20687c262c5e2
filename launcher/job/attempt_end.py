"""Decide why an attempt ended, from its exit status and the stop requests it received."""

from __future__ import annotations

import signal

from attrs import frozen

from trainers import exit_codes
from trainers.run.run_state import Cause
from trainers.run.sections import HANG_PREFIX
from trainers.stop_flag import SIGNALS

_CAUSES = {
    exit_codes.OUT_OF_MEMORY: Cause.OUT_OF_MEMORY,
    exit_codes.UNAVAILABLE: Cause.UNAVAILABLE,
    exit_codes.NODE_FAULT: Cause.NODE_FAILURE,
    exit_codes.RANK_LOST: Cause.NODE_FAILURE,  # no other rank has said why
    exit_codes.NON_FINITE: Cause.NON_FINITE,
}
"""What a trainer itself found to be the cause."""


@frozen(kw_only=True)
class AttemptEnd:
    """Why an attempt ended."""

    cause: Cause
    reason: str = ""
    """For a person to read."""
    can_be_retried: bool = True
    """Whether another attempt may succeed."""


@frozen(kw_only=True)
class StopRequest:
    """Why a whole job was asked to stop, as far as it could be found out."""

    cause: Cause
    """`preempted`, `time_limit`, `node_failure` or `cancelled`."""
    reason: str
    requeued_by_slurm: bool = False
    """Whether Slurm has already requeued the job."""
    is_final: bool = False
    """Whether Slurm is ending the job for good, though nobody has cancelled it: what is not in the
    queue again when its processes are killed, within seconds, is lost."""


def attempt_end(
    exit_status: int,
    *,
    cancel_requested: bool,
    stop: StopRequest | None,
    killed_after_s: float | None,
    out_of_memory: bool,
    log_tail: str,
) -> AttemptEnd:
    """Return the cause of the end of an attempt, and a reason for a person to read.

    Args:
        exit_status: As `subprocess` reports it: negative for the signal that ended the process.
        stop: The stop request that the job had received by then; None if there was none.
        killed_after_s: The grace in seconds, if the supervisor killed the attempt after it.
        out_of_memory: Whether the kernel's OOM killer has ended a process of this job.
        log_tail: The end of the attempt's log, and where to find the rest.
    """
    if exit_status == exit_codes.FINISHED:
        return AttemptEnd(cause=Cause.FINISHED)
    if exit_status == exit_codes.STOPPED:
        return _stopped(cancel_requested, stop, "stopped after a checkpoint")
    if killed_after_s is not None:
        how = (
            f"killed: still running {killed_after_s:g} s after it was asked to stop; "
            "it resumes from its last checkpoint"
        )
        return _stopped(cancel_requested, stop, how)
    # Slurm may signal every process of a job, also a trainer that has no handlers yet: no crash.
    if -exit_status in SIGNALS:
        return _stopped(cancel_requested, stop, "stopped while it was starting or ending")
    if exit_status in (exit_codes.HANG, -signal.SIGALRM):
        return AttemptEnd(cause=Cause.HANG, reason=_hang_first(log_tail))
    if exit_status in _CAUSES:
        return AttemptEnd(cause=_CAUSES[exit_status], reason=log_tail)
    if exit_status == -signal.SIGKILL:
        return _killed(cancel_requested, stop, out_of_memory)
    if exit_status < 0:
        name = signal.strsignal(-exit_status)
        return AttemptEnd(
            cause=Cause.CRASHED, reason=f"ended by signal {-exit_status} ({name}); {log_tail}"
        )
    return AttemptEnd(
        cause=Cause.CRASHED,
        reason=f"exit code {exit_status}; {log_tail}",
        can_be_retried=exit_status != exit_codes.UNUSABLE,
    )


def _hang_first(log_tail: str) -> str:
    """Return the tail of a log with the watchdog's words about a hang on top.

    There are none if a call into C kept the interpreter from running: then SIGALRM has ended it.
    """
    lines = log_tail.splitlines()
    hangs = [line for line in lines if line.startswith(f"{HANG_PREFIX} ")]
    what = hangs[-1] if hangs else f"{HANG_PREFIX} no Python code could run; stacks in its log"
    return "\n".join([what, *(line for line in lines if line not in hangs)])


def _killed(cancel_requested: bool, stop: StopRequest | None, out_of_memory: bool) -> AttemptEnd:
    if out_of_memory:
        reason = "killed by the kernel, out of memory; ask for more resources.memory_gb"
        return AttemptEnd(cause=Cause.OUT_OF_MEMORY, reason=reason)
    if stop or cancel_requested:
        return _stopped(cancel_requested, stop, "killed before it had saved a checkpoint")
    # Without a readable cgroup counter an OOM kill looks like any other SIGKILL.
    reason = "killed by SIGKILL: out of memory (see `dmesg`), or by hand"
    return AttemptEnd(cause=Cause.CRASHED, reason=reason)


def _stopped(cancel_requested: bool, stop: StopRequest | None, how: str) -> AttemptEnd:
    if cancel_requested:
        return AttemptEnd(cause=Cause.CANCELLED, reason=how)
    if stop:
        return AttemptEnd(cause=stop.cause, reason=f"{stop.reason}; {how}")
    return AttemptEnd(cause=Cause.PREEMPTED, reason=how)

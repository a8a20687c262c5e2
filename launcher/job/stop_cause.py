"""Why a job of Slurm was asked to stop, or has ended: told from all that is known about it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from launcher.job.attempt_end import AttemptEnd, StopRequest
from launcher.job.pack import PackEventKind
from launcher.slurm.jobs import JobDetails, JobRecord
from trainers.run.run_state import Cause

_UNPUNCTUAL_S = 65
"""Slurm may send the signal of a time limit a minute early."""


def stop_cause(
    heard: str,
    details: JobDetails | None,
    *,
    now: float,
    started: float,
    restarts: int,
    time_limit_s: float,
    signal_lead_s: float,
) -> StopRequest:
    """Why a running job hears a signal.

    Args:
        heard: The name of the signal.
        details: What Slurm says of the job at this moment; None if it says nothing.
        now: Unix time, as is `started`.
        started: When the job has.
        restarts: How often it had been restarted by then.
    """
    if details and is_cancelled(details, restarts=restarts, time_limit_s=time_limit_s):
        return StopRequest(cause=Cause.CANCELLED, reason=f"its job was cancelled ({heard})")
    if details and details.preempt_time:
        return StopRequest(cause=Cause.PREEMPTED, reason=f"preempted ({heard})")
    end = details.end_time if details and details.state == "RUNNING" else None
    limit = end or started + time_limit_s
    if now >= limit - signal_lead_s - _UNPUNCTUAL_S:
        return StopRequest(cause=Cause.TIME_LIMIT, reason=f"the time limit of its job ({heard})")
    if details and details.state != "RUNNING":
        reason = f"its job was requeued ({heard})"
        return StopRequest(cause=Cause.PREEMPTED, reason=reason, comes_back=True)
    return StopRequest(cause=Cause.PREEMPTED, reason=f"its job was asked to stop ({heard})")


def is_cancelled(details: JobDetails, *, restarts: int, time_limit_s: float) -> bool:
    """Whether somebody has ended a job that had been restarted so often when it began.

    While its processes end, Slurm calls every job COMPLETING. One that is requeued counts as
    restarted already; one that is at its time limit has run for so long.
    """
    if details.state == "CANCELLED":
        return True
    if details.state != "COMPLETING" or details.restarts > restarts:
        return False
    if details.start_time is None or details.end_time is None:
        return False
    return details.end_time - details.start_time < time_limit_s


_RECORDED = {
    "PREEMPTED": (Cause.PREEMPTED, "its job was preempted"),
    "REQUEUED": (Cause.PREEMPTED, "its job was requeued"),
    "TIMEOUT": (Cause.TIME_LIMIT, "the time limit of its job"),
    "NODE_FAIL": (Cause.NODE_FAILURE, "its node has failed"),
    "OUT_OF_MEMORY": (Cause.OUT_OF_MEMORY, "its job was out of memory"),
    "CANCELLED": (Cause.CANCELLED, "its job was cancelled"),
}


def lost_end(events: Sequence[dict[str, Any]], records: Sequence[JobRecord]) -> AttemptEnd:
    """How an attempt has ended that nobody lived to record.

    Args:
        events: Of its pack, up to this start of the job.
        records: What Slurm has of the job's earlier starts, oldest first; may be nothing.
    """
    for event in reversed(events):
        if event["event"] == PackEventKind.STOPPING:
            return AttemptEnd(
                cause=Cause(event["cause"]), reason=f"{event['reason']}; killed before it had saved"
            )
        if event["event"] == PackEventKind.STEP_ENDED:
            reason = "its supervisor died without recording a cause"
            return AttemptEnd(cause=Cause.NODE_FAILURE, reason=reason)
        if event["event"] == PackEventKind.STARTED:
            break
    for record in reversed(records):
        if record.end is not None and record.state in _RECORDED:
            cause, reason = _RECORDED[record.state]
            return AttemptEnd(
                cause=cause, reason=f"{reason}; it was killed before it could record a cause"
            )
    return AttemptEnd(
        cause=Cause.NODE_FAILURE, reason="its processes exited without recording a cause"
    )

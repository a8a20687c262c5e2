"""Decide why a Slurm job was asked to stop or has ended, from several sources.

None of them is always available: the signal and its time, what Slurm reports about the job at that
moment, the pack's events, and the accounting records.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from launcher.job.attempt_end import AttemptEnd, StopRequest
from launcher.job.pack import PackEventKind
from launcher.slurm.jobs import JobDetails, JobRecord
from trainers.run.run_state import Cause

_SIGNAL_EARLY_S = 65
"""Slurm documents that `sbatch --signal` may arrive up to 60 s early."""
_IN_PLACE = ("RUNNING", "SUSPENDED")
"""States of a job that has its nodes, and is not about to leave them."""
_RECORDED = {
    "PREEMPTED": (Cause.PREEMPTED, "its job was preempted"),
    "REQUEUED": (Cause.PREEMPTED, "its job was requeued"),
    "TIMEOUT": (Cause.TIME_LIMIT, "the time limit of its job"),
    "NODE_FAIL": (Cause.NODE_FAILURE, "its node has failed"),
    "OUT_OF_MEMORY": (Cause.OUT_OF_MEMORY, "its job was out of memory"),
    "CANCELLED": (Cause.CANCELLED, "its job was cancelled"),
}
"""What the states of accounting records mean for an attempt."""


def stop_cause(
    signal_name: str,
    details: JobDetails | None,
    *,
    now: float,
    started: float,
    restarts: int,
    time_limit_s: float,
    signal_lead_s: float,
    grace_s: float,
) -> StopRequest:
    """Return why a running job received a signal.

    Args:
        signal_name: Such as `SIGTERM`, or `SIGTERM on n1` for another node of the job.
        details: What Slurm reports about the job now; None if it did not answer.
        now: Unix time in seconds, like `started`.
        started: When this start of the job began.
        restarts: How often the job had been restarted by then.
        grace_s: Between a preemption and the kill.
    """
    if details and is_cancelled(
        details, restarts=restarts, time_limit_s=time_limit_s, grace_s=grace_s
    ):
        return StopRequest(cause=Cause.CANCELLED, reason=f"its job was cancelled ({signal_name})")
    is_final = details is not None and is_ending(details, restarts=restarts)
    if details and details.preempt_time:
        return StopRequest(
            cause=Cause.PREEMPTED, reason=f"preempted ({signal_name})", is_final=is_final
        )
    if details and is_final and details.recorded in _RECORDED:
        cause, reason = _RECORDED[details.recorded]
        return StopRequest(cause=cause, reason=f"{reason} ({signal_name})", is_final=True)
    end = details.end_time if details and details.state in _IN_PLACE else None
    limit = end or started + time_limit_s
    if now >= limit - signal_lead_s - _SIGNAL_EARLY_S:
        return StopRequest(
            cause=Cause.TIME_LIMIT,
            reason=f"the time limit of its job ({signal_name})",
            is_final=is_final,
        )
    if details and details.state not in _IN_PLACE:
        reason = f"its job was requeued ({signal_name})"
        return StopRequest(
            cause=Cause.PREEMPTED, reason=reason, requeued_by_slurm=True, is_final=is_final
        )
    return StopRequest(cause=Cause.PREEMPTED, reason=f"its job was asked to stop ({signal_name})")


def is_ending(details: JobDetails, *, restarts: int) -> bool:
    """Return whether a job ends for good, in the start that had this many restarts before it.

    While its processes exit, every job is COMPLETING; one that is being requeued already counts as
    restarted.
    """
    return details.state == "COMPLETING" and details.restarts <= restarts


def is_cancelled(
    details: JobDetails, *, restarts: int, time_limit_s: float, grace_s: float
) -> bool:
    """Return whether the job was cancelled, in the start that had this many restarts before it.

    A job that ends for good may also have been preempted where preempted jobs are not requeued, or
    have lost a node. The accounting records tell; without them, a preempted job is one that ended
    at once or after its grace, one at its time limit has run for that long, and any other one was
    cancelled.
    """
    if details.state == "CANCELLED":
        return True
    if not is_ending(details, restarts=restarts):
        return False
    if details.recorded in _RECORDED:
        return _RECORDED[details.recorded][0] == Cause.CANCELLED
    if details.start_time is None or details.end_time is None:
        return False
    if details.preempt_time is not None:
        used_s = details.end_time - details.preempt_time  # of the grace
        if used_s <= 0 or used_s >= grace_s:
            return False
    return details.end_time - details.start_time < time_limit_s


def lost_end(events: Sequence[dict[str, Any]], records: Sequence[JobRecord]) -> AttemptEnd:
    """Return how an attempt ended whose supervisor did not live to record it.

    Args:
        events: The events of its pack, up to this start of the job.
        records: Accounting records of the job's earlier starts, oldest first; may be empty.
    """
    has_step_ended = False
    for event in reversed(events):
        if event["event"] == PackEventKind.STOPPING:
            return AttemptEnd(
                cause=Cause(event["cause"]),
                reason=f"{event['reason']}; killed before it had saved a checkpoint",
            )
        # The step of a job that was stopped may end before its supervisor could record it.
        has_step_ended |= event["event"] == PackEventKind.STEP_ENDED
        if event["event"] == PackEventKind.STARTED:
            break
    if has_step_ended:
        reason = "its supervisor died without recording a cause"
        return AttemptEnd(cause=Cause.NODE_FAILURE, reason=reason)
    for record in reversed(records):
        if record.end is not None and record.state in _RECORDED:
            cause, reason = _RECORDED[record.state]
            return AttemptEnd(
                cause=cause, reason=f"{reason}; it was killed before it could record a cause"
            )
    return AttemptEnd(
        cause=Cause.NODE_FAILURE, reason="its processes exited without recording a cause"
    )

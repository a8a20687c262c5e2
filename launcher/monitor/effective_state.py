"""Decide the effective state of a run: what is recorded may be out of date.

A process that was killed cannot correct `state.json`, so leases and Slurm have the last word.
"""

from __future__ import annotations

from attrs import frozen

from launcher.job.unfinished_members import CANCELLED
from launcher.monitor.job_status import JobPhase, JobStatus
from trainers.run.run_state import Status

_SUSPENDED = ("SUSPENDED", "STOPPED")
"""Such a job keeps its node while its processes are stopped: they go on with the run later, though
their leases have expired."""
_RESUBMIT = "submit again to resume"
_DIED = "its processes exited without recording a cause"
_NEVER_STARTED = "its job ended before it began"


@frozen(kw_only=True)
class EffectiveState:
    """The state of a run, and the reason to show for it."""

    state: Status
    reason: str


def effective_state(
    recorded: Status,
    reason: str,
    *,
    trained: bool,
    supervised: bool,
    job: JobStatus,
    cancel_requested: bool,
) -> EffectiveState:
    """Return the effective state of a run.

    Args:
        recorded: The status in `state.json`.
        reason: The reason recorded with it.
        trained: Whether a process holds the run's lease.
        supervised: Whether the supervisor of the run's pack is alive.
        job: The scheduler's job that has the run's pack.
        cancel_requested: Whether the run was asked to end.
    """
    if recorded.is_over:
        return EffectiveState(state=recorded, reason=reason)
    if trained or (supervised and recorded == Status.RUNNING):
        return EffectiveState(state=Status.RUNNING, reason="")
    if recorded == Status.RUNNING and job.job_state in _SUSPENDED:
        return EffectiveState(state=Status.RUNNING, reason=job.description)
    if cancel_requested:
        return EffectiveState(state=Status.CANCELLED, reason=CANCELLED)
    if supervised or recorded == Status.PLANNED:
        return EffectiveState(state=recorded, reason=reason)
    shown = {Status.RUNNING: _DIED, Status.WAITING: reason, Status.SUBMITTED: ""}[recorded]
    if job.is_expected:
        state = Status.SUBMITTED if recorded == Status.SUBMITTED else Status.WAITING
        return EffectiveState(state=state, reason=_joined(shown, job.description))
    if job.phase in (JobPhase.GONE, JobPhase.HELD):
        shown = _joined(shown, job.description)
    elif recorded == Status.SUBMITTED:
        shown = _NEVER_STARTED
    return EffectiveState(state=Status.WAITING, reason=_with_advice(shown))


def _joined(*parts: str) -> str:
    return "; ".join(part for part in parts if part)


def _with_advice(reason: str) -> str:
    return reason if _RESUBMIT in reason else _joined(reason, _RESUBMIT)

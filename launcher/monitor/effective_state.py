"""Which state a run is in, whatever its last writer believed."""

from __future__ import annotations

from attrs import frozen

from launcher.job.unfinished_members import CANCELLED
from launcher.monitor.job_status import JobPhase, JobStatus
from trainers.run.run_state import Status

_AGAIN = "submit again to resume"
_DIED = "its processes exited without recording a cause"
_NEVER_BEGAN = "its job ended before it began"


@frozen(kw_only=True)
class EffectiveState:
    """The state of a run, and what may be said about it beside the reason that is recorded."""

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
    """Judge a run.

    Args:
        recorded: The status in `state.json`.
        reason: That is recorded with it.
        trained: A process holds the run's lease.
        supervised: The supervisor of the run's pack lives.
        job: Of the scheduler, that has the run's pack.
        cancel_requested: Somebody has asked for the run to end.
    """
    if recorded.is_over:
        return EffectiveState(state=recorded, reason=reason)
    if trained or (supervised and recorded == Status.RUNNING):
        return EffectiveState(state=Status.RUNNING, reason="")
    if cancel_requested:
        return EffectiveState(state=Status.CANCELLED, reason=CANCELLED)
    if supervised or recorded == Status.PLANNED:
        return EffectiveState(state=recorded, reason=reason)
    told = {Status.RUNNING: _DIED, Status.WAITING: reason, Status.SUBMITTED: ""}[recorded]
    if job.is_expected:
        state = Status.SUBMITTED if recorded == Status.SUBMITTED else Status.WAITING
        return EffectiveState(state=state, reason=_joined(told, job.words))
    if job.phase in (JobPhase.GONE, JobPhase.HELD):
        told = _joined(told, job.words)
    elif recorded == Status.SUBMITTED:
        told = _NEVER_BEGAN
    return EffectiveState(state=Status.WAITING, reason=_advised(told))


def _joined(*parts: str) -> str:
    return "; ".join(part for part in parts if part)


def _advised(reason: str) -> str:
    return reason if _AGAIN in reason else _joined(reason, _AGAIN)

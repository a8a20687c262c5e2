"""Which state a run is in, whatever its last writer believed."""

from __future__ import annotations

from attrs import frozen

from launcher.job.unfinished_members import CANCELLED
from launcher.monitor.job_status import JobStatus
from trainers.run.run_state import ENDED

_AGAIN = "submit again to carry on"
_DIED = "its processes ended without a word"
_NEVER_BEGAN = "its job ended before it began"


@frozen(kw_only=True)
class EffectiveState:
    """The state of a run, and what may be said about it beside the reason that is recorded."""

    state: str
    """Of `trainers.run.run_state.STATUSES`."""
    reason: str


def effective_state(
    recorded: str,
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
    if recorded in ENDED:
        return EffectiveState(state=recorded, reason=reason)
    if trained or (supervised and recorded == "running"):
        return EffectiveState(state="running", reason="")
    if cancel_requested:
        return EffectiveState(state="cancelled", reason=CANCELLED)
    if supervised or recorded == "planned":
        return EffectiveState(state=recorded, reason=reason)
    told = {"running": _DIED, "waiting": reason, "submitted": ""}[recorded]
    if job.is_expected:
        state = "submitted" if recorded == "submitted" else "waiting"
        return EffectiveState(state=state, reason=_joined(told, job.words))
    if job.phase in ("gone", "held"):
        told = _joined(told, job.words)
    elif recorded == "submitted":
        told = _NEVER_BEGAN
    return EffectiveState(state="waiting", reason=_advised(told))


def _joined(*parts: str) -> str:
    return "; ".join(part for part in parts if part)


def _advised(reason: str) -> str:
    return reason if _AGAIN in reason else _joined(reason, _AGAIN)

"""Whether a run is started again after an attempt has ended, and why not."""

from __future__ import annotations

from attrs import frozen

from launcher.job.attempt_end import AttemptEnd
from trainers.config.run_config import RetriesConfig
from trainers.run.run_state import Cause, RunState, Status

_IN_WORDS = {
    Cause.PREEMPTED: "preempted",
    Cause.TIME_LIMIT: "ended by the time limit",
    Cause.NODE_FAILURE: "lost with its node",
    Cause.OUT_OF_MEMORY: "out of memory",
    Cause.CRASHED: "crashed",
}


@frozen(kw_only=True)
class Verdict:
    """What becomes of a run whose attempt has ended."""

    status: Status
    """`waiting` for another attempt, or one of the states that last."""
    reason: str


def verdict(state: RunState, end: AttemptEnd, retries: RetriesConfig) -> Verdict:
    """Judge a run.

    Args:
        state: With the ended attempt counted already.
        retries: The run's budgets.
    """
    if end.cause == Cause.FINISHED:
        return Verdict(status=Status.FINISHED, reason="")
    if end.cause == Cause.CANCELLED:
        return Verdict(status=Status.CANCELLED, reason=end.reason)
    times, budget = state.num_counted(end.cause), getattr(retries, end.cause)
    if budget == 0 or not end.can_be_retried:
        return Verdict(status=Status.FAILED, reason=end.reason)
    if budget is not None and times > budget:
        how_often = "once" if times == 1 else f"{times} times"
        reason = f"{_IN_WORDS[end.cause]} {how_often}, and retries.{end.cause} is {budget}"
        return _given_up(reason, end)
    if state.stalled >= retries.without_progress:
        reason = (
            f"{state.stalled} attempts in a row saved no iteration after "
            f"{state.saved_iteration}, and retries.without_progress is {retries.without_progress}"
        )
        return _given_up(reason, end)
    return Verdict(status=Status.WAITING, reason=end.reason)


def _given_up(why: str, end: AttemptEnd) -> Verdict:
    return Verdict(status=Status.FAILED, reason=f"given up: {why}. The last one: {end.reason}")

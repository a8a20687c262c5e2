"""Decide whether a run is retried after an attempt has ended: a pure function of its budgets."""

from __future__ import annotations

from attrs import frozen

from launcher.job.attempt_end import AttemptEnd
from launcher.notify.run_ends import GIVEN_UP
from trainers.config.run_config import RetriesConfig
from trainers.run.run_state import Cause, RunState, Status

RETRY_DELAY_S = 1.0
"""Delay before a member that exited on its own is retried: a stop of the job may have ended it,
and the signal to the supervisor may come a moment later."""
_AWAY_DELAY_S = 10.0
_MAX_AWAY_DELAY_S = 300.0

_DESCRIPTIONS = {
    Cause.PREEMPTED: "preempted",
    Cause.TIME_LIMIT: "ended by the time limit",
    Cause.NODE_FAILURE: "lost with its node",
    Cause.OUT_OF_MEMORY: "out of memory",
    Cause.UNAVAILABLE: "without its data or its disk",
    Cause.NON_FINITE: "stopped by a number that is not finite",
    Cause.HANG: "hung",
    Cause.CRASHED: "crashed",
}


@frozen(kw_only=True)
class RetryDecision:
    """The status of a run whose attempt has ended, and the reason for it."""

    status: Status
    """`waiting` for another attempt, or a final one."""
    reason: str


def retry_delay_s(cause: Cause, times_in_a_row: int) -> float:
    """Return how long a run waits for its next attempt; its slot is free for others meanwhile.

    Args:
        times_in_a_row: How many attempts in a row have ended for this cause.
    """
    if cause != Cause.UNAVAILABLE:
        return RETRY_DELAY_S
    doublings = min(times_in_a_row - 1, 10)
    return min(_AWAY_DELAY_S * float(2**doublings), _MAX_AWAY_DELAY_S)


def decide_retry(state: RunState, end: AttemptEnd, retries: RetriesConfig) -> RetryDecision:
    """Decide whether a run is retried.

    Args:
        state: The state of the run, with the ended attempt already counted.
        retries: The retry budgets of the run.
    """
    if end.cause == Cause.FINISHED:
        return RetryDecision(status=Status.FINISHED, reason="")
    if end.cause == Cause.CANCELLED:
        return RetryDecision(status=Status.CANCELLED, reason=end.reason)
    times, budget = state.num_counted(end.cause), getattr(retries, end.cause)
    if budget == 0 or not end.can_be_retried:
        return RetryDecision(status=Status.FAILED, reason=end.reason)
    if budget is not None and times > budget:
        how_often = "once" if times == 1 else f"{times} times"
        reason = f"{_DESCRIPTIONS[end.cause]} {how_often}, and retries.{end.cause} is {budget}"
        return _given_up(reason, end)
    if state.stalled >= retries.without_progress:
        reason = (
            f"{state.stalled} attempts in a row saved no iteration after "
            f"{state.saved_iteration}, and retries.without_progress is {retries.without_progress}"
        )
        return _given_up(reason, end)
    return RetryDecision(status=Status.WAITING, reason=end.reason)


def _given_up(why: str, end: AttemptEnd) -> RetryDecision:
    return RetryDecision(
        status=Status.FAILED, reason=f"{GIVEN_UP}{why}. The last one: {end.reason}"
    )

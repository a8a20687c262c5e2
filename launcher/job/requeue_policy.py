"""Whether a run is started again after an attempt has ended, and why not."""

from __future__ import annotations

from attrs import frozen

from launcher.job.attempt_end import AttemptEnd
from trainers.config.run_config import RetriesConfig
from trainers.run.run_state import RunState

_IN_WORDS = {
    "preempted": "preempted",
    "time_limit": "ended by the time limit",
    "node_failure": "lost with its node",
    "out_of_memory": "out of memory",
    "crashed": "crashed",
}


@frozen(kw_only=True)
class Verdict:
    """What becomes of a run whose attempt has ended."""

    status: str
    """`waiting` for another attempt, or one of the states that last."""
    reason: str


def verdict(state: RunState, end: AttemptEnd, retries: RetriesConfig) -> Verdict:
    """Judge a run.

    Args:
        state: With the ended attempt counted already.
        retries: The run's budgets.
    """
    if end.cause == "finished":
        return Verdict(status="finished", reason="")
    if end.cause == "cancelled":
        return Verdict(status="cancelled", reason=end.reason)
    times, budget = state.num_counted(end.cause), getattr(retries, end.cause)
    if budget == 0 or not end.can_be_retried:
        return Verdict(status="failed", reason=end.reason)
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
    return Verdict(status="waiting", reason=end.reason)


def _given_up(why: str, end: AttemptEnd) -> Verdict:
    return Verdict(status="failed", reason=f"given up: {why}. The last one: {end.reason}")

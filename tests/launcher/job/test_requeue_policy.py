"""Which runs are started again, by cause, budget and progress."""

import pytest

from launcher.job.attempt_end import AttemptEnd
from launcher.job.requeue_policy import decide_retry, retry_delay_s
from trainers.config.run_config import RetriesConfig
from trainers.run.run_state import Cause, RunState

CAUSES = [cause for cause in Cause if cause not in (Cause.FINISHED, Cause.CANCELLED)]


@pytest.mark.parametrize("cause", CAUSES)
@pytest.mark.parametrize(
    ("budget", "times", "status"),
    [(None, 1000, "waiting"), (3, 3, "waiting"), (3, 4, "failed"), (0, 1, "failed")],
)
def test_every_cause_has_a_budget_of_its_own(cause, budget, times, status):
    """So many retries, and one attempt more; None has no end."""
    attempts = {**dict.fromkeys(CAUSES, 500), cause: times}
    retries = RetriesConfig(**{cause: budget})

    judged = decide_retry(RunState(attempts=attempts), AttemptEnd(cause=cause, reason="x"), retries)

    assert judged.status == status


@pytest.mark.parametrize(
    ("end", "status"),
    [
        (AttemptEnd(cause=Cause.FINISHED), "finished"),
        (AttemptEnd(cause=Cause.CANCELLED, reason="stopped"), "cancelled"),
        (AttemptEnd(cause=Cause.CRASHED, reason="bad config", can_be_retried=False), "failed"),
    ],
)
def test_what_is_over_stays_over(end, status):
    """Whatever the budgets."""
    state = RunState(attempts={end.cause: 1})

    assert decide_retry(state, end, RetriesConfig(crashed=None)).status == status


@pytest.mark.parametrize(("stalled", "status"), [(4, "waiting"), (5, "failed")])
def test_no_progress_is_given_up(stalled, status):
    """Attempts in a row that saved nothing new, even of causes without a limit."""
    state = RunState(attempts={"preempted": 50}, stalled=stalled, saved_iteration=70)
    end = AttemptEnd(cause=Cause.PREEMPTED, reason="preempted (SIGTERM)")

    judged = decide_retry(state, end, RetriesConfig(without_progress=5))

    assert judged.status == status
    if status == "failed":
        assert judged.reason == (
            "given up: 5 attempts in a row saved no iteration after 70, and "
            "retries.without_progress is 5. The last one: preempted (SIGTERM)"
        )


def test_what_is_away_is_tried_less_and_less_often():
    """Up to every five minutes; a crash or a hang is tried again at once."""
    delays = [retry_delay_s(Cause.UNAVAILABLE, times) for times in (1, 2, 3, 6, 1000)]

    assert delays == [10, 20, 40, 300, 300]
    assert retry_delay_s(Cause.CRASHED, 0) == retry_delay_s(Cause.HANG, 0) == 1

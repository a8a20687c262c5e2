"""What an attempt's exit status means."""

import pytest

from launcher.job.attempt_end import StopRequest, attempt_end
from trainers.run.run_state import Cause
from trainers.stop_flag import SIGNALS


@pytest.mark.parametrize("signum", SIGNALS)
def test_a_trainer_that_cannot_listen_yet_has_not_crashed(signum):
    """Slurm sends the user signal to every process of a job, also to those that are starting."""
    end = attempt_end(
        -signum,
        cancel_requested=False,
        stop=StopRequest(cause=Cause.PREEMPTED, reason="preempted (SIGUSR2)"),
        killed_after_s=None,
        out_of_memory=False,
        log_tail="its log is empty",
    )

    assert (end.cause, end.can_be_retried) == ("preempted", True)
    assert end.reason == "preempted (SIGUSR2); stopped while it was starting or ending"

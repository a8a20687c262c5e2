"""What an attempt's exit status means."""

import signal

import pytest

from launcher.job.attempt_end import StopRequest, attempt_end
from launcher.job.member_ranks import joint_status
from trainers import exit_codes
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


@pytest.mark.parametrize(
    ("exit_status", "words", "first_line"),
    [
        (exit_codes.HANG, "hang: no progress in section data", "hang: no progress in section data"),
        (-signal.SIGALRM, "  File x", "hang: no Python code could run; stacks in its log"),
    ],
)
def test_a_hang_is_told_in_the_first_line(exit_status, words, first_line):
    """Tables show only that one; the end of the log follows."""
    end = attempt_end(
        exit_status,
        cancel_requested=False,
        stop=None,
        killed_after_s=None,
        out_of_memory=False,
        log_tail=f"the end of /run/log:\n  File y\n{words}",
    )

    assert (end.cause, end.can_be_retried) == ("hang", True)
    assert end.reason.splitlines()[:3] == [first_line, "the end of /run/log:", "  File y"]


@pytest.mark.parametrize("hang", [exit_codes.HANG, -signal.SIGALRM])
@pytest.mark.parametrize("other", [exit_codes.FAILED, exit_codes.RANK_LOST, exit_codes.STOPPED])
def test_the_rank_that_hung_explains_the_others(hang, other):
    """Its end is an error of their collective operations, whatever torch calls it."""
    assert joint_status([other, hang]) == hang

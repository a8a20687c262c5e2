"""Why a job is stopped, or was lost."""

import attrs
import pytest

from launcher.job.stop_cause import lost_end, stop_cause
from launcher.slurm.jobs import JobDetails, JobRecord

RUNNING = JobDetails(
    state="RUNNING",
    reason=None,
    restarts=0,
    may_requeue=True,
    preempt_time=None,
    start_time=1000.0,
    end_time=4600.0,
    nodes=("n1",),
)


@pytest.mark.parametrize(
    ("details", "now", "cause", "reason"),
    [
        ({"preempt_time": 1999.0, "end_time": 2008.0}, 2000.0, "preempted", "preempted (SIGTERM)"),
        ({"state": "CANCELLED"}, 2000.0, "cancelled", "its job was cancelled (SIGTERM)"),
        (
            {"state": "COMPLETING", "end_time": 2000.0},
            2000.0,
            "cancelled",
            "its job was cancelled (SIGTERM)",
        ),
        (
            {"state": "COMPLETING", "end_time": 2000.0, "preempt_time": 2000.0},
            2000.0,
            "preempted",
            "preempted (SIGTERM)",
        ),
        (
            {"state": "COMPLETING", "end_time": 2003.0, "preempt_time": 2000.0},
            2003.0,
            "cancelled",
            "its job was cancelled (SIGTERM)",
        ),
        (
            {"state": "COMPLETING", "end_time": 2008.0, "preempt_time": 2000.0},
            2008.0,
            "preempted",
            "preempted (SIGTERM)",
        ),
        (
            {
                "state": "COMPLETING",
                "end_time": 2003.0,
                "preempt_time": 2000.0,
                "recorded": "PREEMPTED",
            },
            2003.0,
            "preempted",
            "preempted (SIGTERM)",
        ),
        (
            {
                "state": "COMPLETING",
                "end_time": 2010.0,
                "preempt_time": 2000.0,
                "recorded": "CANCELLED",
            },
            2010.0,
            "cancelled",
            "its job was cancelled (SIGTERM)",
        ),
        (
            {
                "state": "COMPLETING",
                "end_time": 2000.0,
                "preempt_time": 2000.0,
                "recorded": "CANCELLED",
            },
            2000.0,
            "cancelled",
            "its job was cancelled (SIGTERM)",
        ),
        (
            {"state": "COMPLETING", "end_time": 2000.0, "recorded": "PREEMPTED"},
            2000.0,
            "preempted",
            "its job was preempted (SIGTERM)",
        ),
        (
            {"state": "COMPLETING", "end_time": 2000.0, "recorded": "NODE_FAIL"},
            2000.0,
            "node_failure",
            "its node has failed (SIGTERM)",
        ),
        (
            {"state": "COMPLETING", "end_time": 2000.0, "recorded": "RUNNING"},
            2000.0,
            "cancelled",
            "its job was cancelled (SIGTERM)",
        ),
        ({"state": "SUSPENDED"}, 2000.0, "preempted", "its job was asked to stop (SIGTERM)"),
        (
            {"state": "COMPLETING", "restarts": 1},
            2000.0,
            "preempted",
            "its job was requeued (SIGTERM)",
        ),
        ({}, 4480.0, "time_limit", "the time limit of its job (SIGTERM)"),
        ({}, 4420.0, "time_limit", "the time limit of its job (SIGTERM)"),
        ({}, 2000.0, "preempted", "its job was asked to stop (SIGTERM)"),
        ({"state": "COMPLETING"}, 4600.0, "time_limit", "the time limit of its job (SIGTERM)"),
        ({"state": "PENDING"}, 2000.0, "preempted", "its job was requeued (SIGTERM)"),
        (None, 2000.0, "preempted", "its job was asked to stop (SIGTERM)"),
        (None, 4480.0, "time_limit", "the time limit of its job (SIGTERM)"),
    ],
)
def test_causes_of_a_stop(details, now, cause, reason):
    """Slurm's word counts; without it, the clock tells a time limit, early as it may be heard."""
    request = stop_cause(
        "SIGTERM",
        None if details is None else attrs.evolve(RUNNING, **details),
        now=now,
        started=1000.0,
        restarts=0,
        time_limit_s=3600,
        signal_lead_s=120,
        grace_s=8,
    )

    assert (request.cause, request.reason) == (cause, reason)


@pytest.mark.parametrize(
    ("details", "is_final"),
    [
        ({}, False),
        ({"preempt_time": 1999.0, "end_time": 2008.0}, False),
        ({"state": "COMPLETING", "restarts": 1}, False),
        ({"state": "COMPLETING", "end_time": 2000.0}, False),
        ({"state": "COMPLETING", "end_time": 2000.0, "preempt_time": 2000.0}, True),
        ({"state": "COMPLETING", "end_time": 2000.0, "recorded": "NODE_FAIL"}, True),
        ({"state": "COMPLETING", "end_time": 4600.0, "recorded": "TIMEOUT"}, True),
    ],
)
def test_a_job_that_slurm_ends_for_good(details, is_final):
    """It must be back in the queue before it is killed, unless somebody has cancelled it."""
    request = stop_cause(
        "SIGTERM",
        attrs.evolve(RUNNING, **details),
        now=2000.0,
        started=1000.0,
        restarts=0,
        time_limit_s=3600,
        signal_lead_s=120,
        grace_s=8,
    )

    assert request.is_final == is_final


STARTED = {"event": "started"}
STOPPING = {"event": "stopping", "cause": "time_limit", "reason": "the time limit of its job"}
STEP_ENDED = {"event": "step ended", "status": 137}


def record(state, end=2000.0):
    return JobRecord(state=state, exit_code=0, signal=0, nodes=(), start=1000.0, end=end)


@pytest.mark.parametrize(
    ("events", "records", "cause"),
    [
        ([STARTED, STOPPING], [record("NODE_FAIL")], "time_limit"),
        ([STARTED, STEP_ENDED], [], "node_failure"),
        ([STARTED], [record("PREEMPTED")], "preempted"),
        ([STARTED], [record("REQUEUED")], "preempted"),
        ([STARTED], [record("TIMEOUT")], "time_limit"),
        ([STARTED], [record("OUT_OF_MEMORY")], "out_of_memory"),
        ([STARTED], [record("NODE_FAIL"), record("RUNNING", end=None)], "node_failure"),
        ([STARTED, STOPPING, STARTED], [record("PREEMPTED")], "preempted"),
        ([STARTED], [], "node_failure"),
        ([], [], "node_failure"),
    ],
)
def test_causes_of_a_loss(events, records, cause):
    """What the last start of the job has heard counts most, then Slurm's records."""
    assert lost_end(events, records).cause == cause

"""What is true of a run, from all that can be known about it."""

import pytest

from launcher.job.pack import SubmittedJob
from launcher.monitor.effective_state import effective_state
from launcher.monitor.job_status import IN_SUBMISSION, NEVER_SUBMITTED, NO_JOB, job_status
from launcher.slurm.jobs import QueuedJob
from launcher.slurm.queue_cache import QueueSnapshot
from trainers.run.run_state import Status

AGAIN = "submit again to resume"
SILENCE = "`squeue`: Unable to contact slurm controller"


def queued(state, reason=None):
    return QueuedJob(
        state=state,
        reason=reason,
        partition="gpu",
        nodes=(),
        time_left_s=None,
        restarts=0,
        start_estimate=None,
    )


def outlook(*, view_time=1000.0, error=None, submitted=900.0, final_state="", **jobs):
    """Of job 12_3, from a view of a queue in which these jobs are."""
    view = QueueSnapshot(jobs={f"12_{key[1:]}": job for key, job in jobs.items()}, time=view_time)
    if error:
        view = QueueSnapshot(time=view_time, error=error)
    job = SubmittedJob(job_id="12_3", submitted=submitted)
    return job_status(job, view, final_state=final_state)


WAITS = outlook(_3=queued("PENDING", "Priority"))
RUNS = outlook(_3=queued("RUNNING"))
HELD = outlook(_3=queued("PENDING", "launch failed requeued held"))
GONE = outlook(_4=queued("RUNNING"), final_state="TIMEOUT")
SILENT = outlook(error=SILENCE)


@pytest.mark.parametrize(
    ("found", "phase", "description"),
    [
        (WAITS, "queued", "its job 12_3 waits in the queue: Priority"),
        (outlook(_3=queued("PENDING")), "queued", "its job 12_3 waits in the queue"),
        (RUNS, "queued", "its job 12_3 is running"),
        (HELD, "held", "its job 12_3 waits in the queue: launch failed requeued held"),
        (outlook(_3=queued("COMPLETING")), "queued", "its job 12_3 is in the queue: COMPLETING"),
        (GONE, "gone", "its job 12_3 has left the queue (TIMEOUT)"),
        (outlook(), "gone", "its job 12_3 has left the queue"),
        (outlook(submitted=997), "unknown", "its job 12_3 was submitted a moment ago"),
        (outlook(submitted=1200), "unknown", "its job 12_3 was submitted a moment ago"),
        (
            SILENT,
            "unknown",
            "whether its job 12_3 is in the queue is not known, as Slurm does not answer: "
            "`squeue`: Unable to contact slurm controller",
        ),
    ],
)
def test_the_outlook_of_a_job(found, phase, description):
    """A view that is older than the submission says nothing about a job that is not in it."""
    assert (found.phase, found.description) == (phase, description)
    assert found.is_expected == (phase not in ("gone", "held"))


@pytest.mark.parametrize(
    ("submitted", "expected"), [(990.0, IN_SUBMISSION), (900.0, NEVER_SUBMITTED)]
)
def test_a_job_that_has_no_name_yet(submitted, expected):
    """Whoever is submitting it will soon tell; who has not within a minute has died."""
    job = SubmittedJob(job_id="", submitted=submitted)

    assert job_status(job, QueueSnapshot(time=1000.0)) == expected


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        (queued("RUNNING"), IN_SUBMISSION),
        (queued("COMPLETING"), IN_SUBMISSION),
        (queued("PENDING", "launch failed requeued held"), NEVER_SUBMITTED),
    ],
)
def test_a_job_that_ends_may_take_its_time_to_submit_the_next_one(before, expected):
    """For as long as it is in the queue, unless Slurm holds it: then it does nothing at all."""
    job = SubmittedJob(job_id="", submitted=0.0, replaces="12_3")

    assert job_status(job, QueueSnapshot(time=1000.0, jobs={"12_3": before})) == expected


@pytest.mark.parametrize(
    ("recorded", "trained", "supervised", "cancel_requested", "expected"),
    [
        ("planned", False, False, False, "planned"),
        ("planned", False, False, True, "cancelled"),
        ("submitted", False, True, False, "submitted"),
        ("submitted", False, False, False, "waiting"),
        ("submitted", False, True, True, "cancelled"),
        ("submitted", True, True, False, "running"),
        ("running", True, True, False, "running"),
        ("running", True, False, False, "running"),
        ("running", False, True, False, "running"),
        ("running", False, False, False, "waiting"),
        ("running", True, True, True, "running"),
        ("running", False, False, True, "cancelled"),
        ("waiting", False, False, False, "waiting"),
        ("waiting", False, True, False, "waiting"),
        ("waiting", True, True, False, "running"),
        ("waiting", False, False, True, "cancelled"),
        ("finished", True, True, True, "finished"),
        ("failed", False, False, True, "failed"),
        ("cancelled", False, False, False, "cancelled"),
    ],
)
@pytest.mark.parametrize("job", [NO_JOB, WAITS, RUNS, SILENT, GONE, HELD])
def test_the_true_state(recorded, trained, supervised, cancel_requested, expected, job):
    """Nobody is running whom no process trains, whatever was written last.

    Only a submitted run depends on its job: it stays one while that may still come.
    """
    if recorded == "submitted" and expected == "waiting" and job.is_expected:
        expected = "submitted"

    found = effective_state(
        Status(recorded),
        "as recorded",
        trained=trained,
        supervised=supervised,
        job=job,
        cancel_requested=cancel_requested,
    )

    assert found.state == expected


@pytest.mark.parametrize(
    ("recorded", "reason", "job", "expected"),
    [
        ("submitted", "", NO_JOB, f"its job ended before it began; {AGAIN}"),
        ("submitted", "", WAITS, "its job 12_3 waits in the queue: Priority"),
        ("submitted", "", GONE, f"its job 12_3 has left the queue (TIMEOUT); {AGAIN}"),
        ("submitted", "", NEVER_SUBMITTED, f"its submission was interrupted; {AGAIN}"),
        ("submitted", "", SILENT, SILENT.description),
        ("running", "", NO_JOB, f"its processes exited without recording a cause; {AGAIN}"),
        (
            "running",
            "",
            RUNS,
            "its processes exited without recording a cause; its job 12_3 is running",
        ),
        (
            "running",
            "",
            GONE,
            "its processes exited without recording a cause; "
            "its job 12_3 has left the queue (TIMEOUT); "
            f"{AGAIN}",
        ),
        ("waiting", "preempted (SIGTERM)", NO_JOB, f"preempted (SIGTERM); {AGAIN}"),
        (
            "waiting",
            "preempted (SIGTERM)",
            WAITS,
            "preempted (SIGTERM); its job 12_3 waits in the queue: Priority",
        ),
        (
            "waiting",
            f"its job could not be requeued: no; {AGAIN}",
            GONE,
            f"its job could not be requeued: no; {AGAIN}; "
            "its job 12_3 has left the queue (TIMEOUT)",
        ),
        ("finished", "", GONE, ""),
        ("failed", "crashed", WAITS, "crashed"),
    ],
)
def test_the_reason_says_what_a_run_waits_for(recorded, reason, job, expected):
    """Why its last attempt ended, where its job is, and what to do if none comes."""
    found = effective_state(
        Status(recorded), reason, trained=False, supervised=False, job=job, cancel_requested=False
    )

    assert found.reason == expected

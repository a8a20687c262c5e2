"""What is told of a run, and what there is to do."""

import attrs
import pytest

from launcher.explain.explanation import Budget, explain
from tests.launcher.explain.facts import failed_by, make_facts, waiting_for
from trainers.config.checkpoint_config import CheckpointConfig

RESUBMIT = "launch resubmit /one/runs/a --state"


@pytest.mark.parametrize(
    ("facts", "why", "advice"),
    [
        (make_facts("finished"), "all 100 iterations are done", []),
        (
            make_facts("planned"),
            "it was never submitted",
            ["submit it: launch submit FILE --cluster NAME"],
        ),
        (
            make_facts("cancelled"),
            "it was asked to end",
            [f"resume it: {RESUBMIT} cancelled"],
        ),
        (make_facts("running"), "its processes are starting or ending", []),
        (
            make_facts("submitted", is_expected=True),
            "its job runs, and has no free slot for it yet",
            [],
        ),
        (
            make_facts(reason="exit code 1", is_expected=True),
            "exit code 1; its supervisor is about to start it again",
            [],
        ),
        (
            make_facts(reason="its job 12_3 has left the queue (TIMEOUT); submit again to resume"),
            "its job 12_3 has left the queue (TIMEOUT); submit again to resume",
            [f"resume it: {RESUBMIT} waiting"],
        ),
        (
            waiting_for("Priority"),
            "preempted (SIGTERM); its job 12_3 waits in the queue: Priority (jobs of a higher "
            "priority are ahead of it)",
            ["wait; a job that asks for less, or for a shorter --time, may start earlier"],
        ),
        (
            waiting_for("JobHeldUser"),
            "preempted (SIGTERM); its job 12_3 waits in the queue: JobHeldUser (you have put it on "
            "hold)",
            ["`scontrol release 12_3` releases it"],
        ),
        (
            make_facts(doubt="Slurm is silent", reason="Slurm is silent", is_expected=True),
            "Slurm is silent",
            [
                "ask again when Slurm answers (`scontrol ping`)",
                "to start it elsewhere meanwhile: launch cancel /one/runs/a, then submit again",
            ],
        ),
    ],
)
def test_what_there_is_to_do(facts, why, advice):
    """A reason that a person understands, and nothing to do where waiting is enough."""
    found = explain(facts)

    assert (found.why, list(found.advice)) == (why, advice)


@pytest.mark.parametrize(
    ("facts", "advice"),
    [
        (
            failed_by("out_of_memory", "killed by the kernel, out of memory"),
            "ask for more memory: submit again with a larger resources.memory_gb, now 16",
        ),
        (
            failed_by("out_of_memory", "OutOfMemoryError: CUDA out of memory"),
            "the memory of its GPU was too small: a whole GPU if it has a share of one "
            "(resources.gpus), more of them for the same batch, or a --partition with larger ones",
        ),
        (
            failed_by("time_limit"),
            "its jobs reached their time limit more often than retries.time_limit allows: leave "
            "that out, or ask for longer jobs (--time)",
        ),
        (
            failed_by("preempted"),
            "it was preempted more often than retries.preempted allows: leave that out, or take a "
            "--partition whose jobs are not preempted",
        ),
        (
            failed_by("node_failure"),
            "its nodes (n1) were lost: see `sinfo -R` and `launch nodes`, or raise "
            "retries.node_failure",
        ),
        (failed_by("crashed"), "see the end of its log: /one/runs/a/logs/attempt-001.rank-0.log"),
        (
            failed_by("preempted", stalled=10),
            "its attempts end before they have saved anything: save more often than every 1000 "
            "iterations (checkpoint.every_iterations), or have longer jobs (--time)",
        ),
        (
            failed_by(
                "preempted",
                stalled=10,
                saving=CheckpointConfig(every_iterations=100, every_minutes=7.5),
            ),
            "its attempts end before they have saved anything: save more often than every 100 "
            "iterations (checkpoint.every_iterations) or every 7.5 minutes "
            "(checkpoint.every_minutes), or have longer jobs (--time)",
        ),
    ],
)
def test_what_may_keep_a_run_from_failing_again(facts, advice):
    """By the cause of the last end; then it can be started again."""
    found = explain(facts)

    assert list(found.advice) == [
        advice,
        f"start it again, with new budgets: {RESUBMIT} failed",
    ]
    assert found.last_lines == ("Traceback", "ValueError: no")


DIED = ("/opt/venv/bin/python: No such file or directory",)


@pytest.mark.parametrize(
    ("facts", "is_shown"),
    [
        (make_facts(reason="gone"), True),
        (make_facts("failed", reason="given up"), True),
        (make_facts(is_expected=True, job_events=({"event": "step ended", "status": 127},)), True),
        (make_facts("submitted", is_expected=True), False),
        (make_facts("running"), False),
        (make_facts("cancelled"), False),
    ],
)
def test_the_words_of_a_job_that_died_early(facts, is_shown):
    """They are shown once it has ended, with what they mean, before any other advice."""
    facts = attrs.evolve(facts, job_log="/one/submitit/12_3_0_log.out", job_lines=DIED)

    found = explain(facts)

    if not is_shown:
        assert (found.job_log, found.job_lines) == (None, ())
        return
    assert (found.job_log, found.job_lines) == ("/one/submitit/12_3_0_log.out", DIED)
    assert found.last_lines == ()
    assert found.why.endswith("there is no /opt/venv/bin/python on its node")
    assert found.advice[0].startswith("submit from an environment on a file system that every node")


def test_words_that_nobody_knows_are_shown_all_the_same():
    """Without a guess at what they mean."""
    facts = make_facts(reason="gone", job_log="/log", job_lines=("strange",))

    found = explain(facts)

    assert (found.why, found.job_lines) == ("gone", ("strange",))
    assert list(found.advice) == [f"resume it: {RESUBMIT} waiting"]


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        (
            failed_by("unavailable", "/data/a.zarr/raw: Input/output error for 600 s"),
            ["look whether /data/a.zarr/raw can be read and written on n1", "timeout_s"],
        ),
        (
            failed_by("unavailable", "s3://bucket/a.zarr: expired token"),
            ["look whether s3://bucket/a.zarr can be read"],
        ),
        (
            failed_by("unavailable", "no answer"),
            ["look whether its data and its folder can be read"],
        ),
        (
            failed_by("node_failure", "CUDA error: uncorrectable ECC error encountered"),
            ["a GPU of its nodes (n1) could not be used", "on other nodes"],
        ),
        (
            failed_by("non_finite", "loss is nan at iteration 7"),
            ["the sample that the reason names", "non_finite: skip or rewind"],
        ),
        (
            failed_by("hang", "no progress in `data` for 120 s"),
            ["/one/runs/a/logs/attempt-001.rank-0.log", "the node on n1 first"],
        ),
    ],
)
def test_a_remedy_names_places(facts, words):
    """Paths from the reason, the node, and the log."""
    advice, _ = explain(facts).advice

    for each in words:
        assert each in advice


def test_a_run_whose_files_cannot_be_read():
    """It is not submitted again on a guess."""
    found = explain(make_facts("unreadable", reason="unreadable: /one: Permission denied"))

    assert found.why == "unreadable: /one: Permission denied"
    assert list(found.advice) == ["ask again once its files can be read: /one/runs/a"]


def test_budgets_count_from_the_last_submission():
    """Attempts that were forgiven are not among those used."""
    facts = make_facts("failed", counted={"crashed": 5, "preempted": 3})
    forgiven = attrs.evolve(facts.state, forgiven={"crashed": 3}, stalled=4)

    found = explain(attrs.evolve(facts, state=forgiven))

    assert found.budgets == (
        Budget(cause="preempted", used=3, allowed=None),
        Budget(cause="time_limit", used=0, allowed=None),
        Budget(cause="node_failure", used=0, allowed=10),
        Budget(cause="out_of_memory", used=0, allowed=1),
        Budget(cause="unavailable", used=0, allowed=50),
        Budget(cause="hang", used=0, allowed=3),
        Budget(cause="non_finite", used=0, allowed=0),
        Budget(cause="crashed", used=2, allowed=2),
        Budget(cause="without_progress", used=4, allowed=10),
    )

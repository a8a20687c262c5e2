"""What Slurm says about a job to its own processes."""

import attrs
import pytest

from launcher.job import own_job
from launcher.job.node import ThisNode
from launcher.job.own_job import earlier_records, own_details
from launcher.job.pack import SubmittedJob
from launcher.slurm import client
from launcher.slurm.jobs import JobRecord
from launcher.slurm.parsing import read_moment
from tests.launcher.job.test_node_supervisor import TERMS

SUBMITTED = SubmittedJob(job_id="13", submitted=0.0, replaces="12")


@pytest.fixture
def says(tmp_path, slurm):
    """What `scontrol show job` prints from now on."""

    def say(text):
        program = slurm.folder / "bin" / "scontrol"
        program.write_text(f"#!/bin/sh\necho '{text}'\n")
        program.chmod(0o755)

    return say


def job(state, **fields):
    words = {"JobId": "12", "JobState": state, "Restarts": "0", **fields}
    return " ".join(f"{key}={value}" for key, value in words.items())


@pytest.mark.parametrize(
    ("restarts", "submitted", "state"),
    [(0, SUBMITTED, "PREEMPTED"), (1, SUBMITTED, "NODE_FAIL"), (0, None, "NODE_FAIL")],
)
def test_the_first_start_of_a_job_looks_at_the_job_before(slurm, restarts, submitted, state):
    """How an attempt was lost that nobody lived to count is in its records."""
    slurm.ended(_12="PREEMPTED", _13="NODE_FAIL")
    node = ThisNode(name="n1", job="13", restarts=restarts)

    (record,) = earlier_records(node, TERMS, submitted)

    assert record.state == state


def test_a_job_that_ends_is_looked_up_in_the_records(slurm, says):
    """The controller calls it COMPLETING, however it ends."""
    says(job("COMPLETING", EndTime="2026-01-01T11:00:00"))
    slurm.ended(_12="NODE_FAIL")

    details = own_details(ThisNode(name="n1", job="12"), TERMS)

    assert (details.state, details.recorded) == ("COMPLETING", "NODE_FAIL")


@pytest.mark.parametrize(
    ("details", "terms"),
    [
        (job("RUNNING"), TERMS),
        (job("COMPLETING", Restarts="1"), TERMS),
        (job("COMPLETING"), attrs.evolve(TERMS, accounting=False)),
    ],
    ids=["runs", "restarted", "no-accounting"],
)
def test_accounting_is_asked_only_if_it_alone_can_tell(slurm, says, details, terms):
    """It is slow, and the job may be killed within seconds."""
    says(details)

    assert own_details(ThisNode(name="n1", job="12"), terms).recorded == ""

    assert slurm.calls("sacct") == []


def test_a_record_that_does_not_come_is_not_waited_for(slurm, says, monkeypatch):
    """The requeue has to be made meanwhile."""
    monkeypatch.setattr(own_job, "_RECORD_TIMEOUT_S", 0.3)
    says(job("COMPLETING"))

    assert own_details(ThisNode(name="n1", job="12"), TERMS).recorded == ""


@pytest.mark.parametrize(
    ("started", "recorded"),
    [("2026-01-01T10:05:00", ""), ("2026-01-01T10:00:00", "PREEMPTED")],
    ids=["earlier-start", "this-start"],
)
def test_the_record_of_an_earlier_start_does_not_count(slurm, says, monkeypatch, started, recorded):
    """That one was preempted; how this one ends may not be recorded yet."""
    monkeypatch.setattr(own_job, "_RECORD_TIMEOUT_S", 0.3)
    says(job("COMPLETING", StartTime=started, EndTime="2026-01-01T11:00:00"))
    record = JobRecord(
        state="PREEMPTED",
        exit_code=0,
        signal=0,
        nodes=("n1",),
        start=read_moment("2026-01-01T10:00:00"),
        end=read_moment("2026-01-01T10:04:00"),
    )
    monkeypatch.setattr(client, "job_records", lambda *_, **__: {"12": [record]})

    assert own_details(ThisNode(name="n1", job="12"), TERMS).recorded == recorded


def test_accounting_is_not_asked_often(slurm, says):
    """A preemption may end hundreds of jobs at once."""
    says(job("COMPLETING"))

    own_details(ThisNode(name="n1", job="12"), TERMS)

    assert 1 <= len(slurm.calls("sacct")) <= 4

"""A line of `setup` that fails: tried once more elsewhere, and then given up."""

import attrs
import pytest

from launcher.experiment.experiment_folder import ExperimentFolder
from launcher.job import failed_setup, resubmit
from launcher.job.bad_nodes import read_node_failures
from launcher.job.batch_end import count_failed_starts
from launcher.job.bookkeeping import PackRecords
from launcher.job.failed_setup import end_failed_setup, failed_setups
from launcher.job.node import ThisNode
from launcher.job.pack import (
    Member,
    Pack,
    PackEventKind,
    SubmittedJob,
    append_pack_event,
    read_pack_events,
    write_job,
)
from launcher.notify.run_ends import GIVEN_UP
from tests.launcher.job.test_node_supervisor import TERMS
from trainers.run.run_state import RunState, read_state, write_state


class Job:
    """One whose setup has failed on the node n1 of the partition's two."""

    def __init__(self, folder, monkeypatch):
        self.folder = folder
        self.pack = ExperimentFolder(folder).pack("pack-0000")
        self.pack.path.mkdir(parents=True)
        self.run = self.pack.experiment.run("a")
        self.run.path.mkdir(parents=True)
        write_state(self.run, RunState(status="submitted", pack="pack-0000"))
        write_job(self.pack, SubmittedJob(job_id="12", submitted=0.0))
        monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
        shows = "echo JobId=12 JobState=RUNNING Restarts=0 StartTime=Unknown EndTime=Unknown"
        self.says("scontrol", f'[ "$1" = show ] && {shows} || echo "$@" >>{folder}/calls')
        self.has_nodes("n1 idle", "n2 idle", "n3 drained")

    def says(self, program, line):
        (self.folder / program).write_text(f"#!/bin/sh\n{line}\n")
        (self.folder / program).chmod(0o755)

    def has_nodes(self, *lines):
        self.says("sinfo", "\n".join(f"echo {line}" for line in lines))

    def end(self, *, node="n1", line=2, status=127):
        terms = attrs.evolve(
            TERMS, parameters={"setup": ["true", "module load x"], "additional_parameters": {}}
        )
        pack = Pack(
            members=(Member(name="a", gpus=1, cpus=1),), machine=None, grace_s=1, slurm=terms
        )
        records = PackRecords(self.pack)
        earlier = list(read_pack_events(self.pack)) if self.pack.events.exists() else []
        done = end_failed_setup(
            self.pack,
            pack,
            records,
            ThisNode(name=node, job="12"),
            earlier,
            line=line,
            status=status,
        )
        records.close(10)
        return done

    @property
    def calls(self):
        calls = self.folder / "calls"
        return calls.read_text().splitlines() if calls.exists() else []

    @property
    def state(self):
        return read_state(self.run)


@pytest.fixture
def job(tmp_path, monkeypatch):
    return Job(tmp_path, monkeypatch)


def test_it_is_tried_on_another_node(job):
    """The node is kept from this job alone: whether it is to blame is not known."""
    assert job.end()

    assert job.calls == ["requeue 12", "update JobId=12 ExcNodeList=n1"]
    assert job.state.status == "waiting"
    assert job.state.reason == (
        "its job could not start on n1: the setup line `module load x` failed with exit code 127"
    )
    assert read_node_failures(job.pack.experiment) == []
    assert count_failed_starts(list(read_pack_events(job.pack))) == 1


def test_it_is_given_up_when_it_fails_again(job):
    """Which line it was, with which exit code, where, and what to do."""
    job.end()
    calls = job.calls

    assert not job.end(node="n2", status=1)

    assert job.calls == [*calls, "update JobId=12 Requeue=0"]
    assert job.state.status == "failed"
    assert job.state.reason == (
        f"{GIVEN_UP}its job could not start on n1 and then on n2: the setup line `module load x` "
        "failed with exit code 1. Correct `setup` in the cluster config slurm, or append `|| true` "
        "to a line that may fail; then submit again"
    )


def test_a_new_job_is_kept_from_the_node(job, monkeypatch):
    """Where Slurm has refused the requeue: the old one does not start again."""
    monkeypatch.setattr(resubmit, "submit_array", lambda *_: ["13"])
    shows = "echo JobId=12 JobState=RUNNING Restarts=0 StartTime=Unknown EndTime=Unknown"
    refuses = "[ $1 = requeue ] && echo Requested operation is disabled >&2 && exit 1"
    job.says(
        "scontrol", f'[ $1 = show ] && {shows} && exit\n{refuses}\necho "$@" >>{job.folder}/calls'
    )

    assert job.end()

    assert job.calls == ["update JobId=12 Requeue=0", "update JobId=13 ExcNodeList=n1"]


def test_a_job_with_nothing_left_does_not_start_again(job):
    """Slurm 24.05 and later restart one that was preempted."""
    write_state(job.run, RunState(status="finished", pack="pack-0000"))

    assert not job.end()

    assert job.calls == ["update JobId=12 Requeue=0"]


def test_the_only_node_is_tried_again(job):
    """A job that is kept from all nodes would wait for ever."""
    job.has_nodes("n1 idle")

    assert job.end()

    assert job.calls == ["requeue 12"]


def test_a_setup_that_slurm_has_stopped_has_not_failed(job):
    """Preempted while a module was being loaded, any number of times."""
    for _ in range(4):
        assert job.end(status=143)

    assert job.state.status == "submitted"
    assert job.calls == ["requeue 12"] * 4  # and the node is as good as any


def test_a_failure_after_a_stop_is_the_first_one(job):
    """The job is tried again."""
    job.end(status=143)

    assert job.end()

    assert job.state.status == "waiting"


def test_an_exit_in_the_setup_is_told_without_its_line(job):
    """Which the shell does not know."""
    job.end(line=0, status=3)

    assert job.state.reason.endswith("a setup line ended the job with exit code 3")


def test_failures_before_the_last_member_do_not_count(job):
    """The setup has worked since."""
    append_pack_event(job.pack, PackEventKind.STEP_ENDED, status=1, node="n1", setup="x")
    append_pack_event(job.pack, PackEventKind.BEGAN)
    append_pack_event(job.pack, PackEventKind.STEP_ENDED, status=1)
    append_pack_event(job.pack, PackEventKind.STEP_ENDED, status=1, node="n2", setup="x")

    assert failed_setups(list(read_pack_events(job.pack))) == ["n2"]
    assert failed_setup._MAX_FAILED_SETUPS == 2

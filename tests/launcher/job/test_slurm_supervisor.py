"""What a supervisor of a Slurm job makes of its start."""

import shlex

import pytest

from launcher.experiment.experiment_folder import ExperimentFolder
from launcher.job import slurm_supervisor
from launcher.job.bookkeeping import PackRecords
from launcher.job.node import ThisNode
from launcher.job.pack import (
    Member,
    Pack,
    PackEventKind,
    SubmittedJob,
    read_job,
    read_pack_events,
    write_job,
)
from launcher.job.requeue import JobRequeue
from launcher.slurm.array_files import ArrayFiles
from tests.launcher.job.test_node_supervisor import TERMS
from trainers.run.run_state import RunState, read_state, write_state
from trainers.stop_flag import StopFlag


@pytest.fixture
def job(tmp_path, monkeypatch):
    """A job whose code is not there."""
    monkeypatch.setattr(slurm_supervisor, "PATIENCE_S", 0.0)
    folder = ExperimentFolder(tmp_path).pack("pack-0000")
    folder.path.mkdir(parents=True)
    run = folder.experiment.run("a")
    run.path.mkdir(parents=True)
    write_state(run, RunState(status="submitted", pack="pack-0000"))
    member = Member(name="a", gpus=0, cpus=1)
    pack = Pack(members=(member,), machine=None, grace_s=10.0, code="abc", slurm=TERMS)
    node = ThisNode(name="n1", job="12_3")
    records = PackRecords(folder)
    requeue = JobRequeue(folder, records, TERMS, node, print)
    return slurm_supervisor._SlurmPack(
        folder, pack, TERMS, node, None, StopFlag(), records, requeue
    ), folder


def test_code_that_is_gone_is_not_blamed_on_the_node(job):
    """The run fails, and the batch script has nothing to add."""
    supervisor, folder = job
    folder.experiment.code.mkdir()

    assert not supervisor.run()

    assert read_state(folder.experiment.run("a")).status == "failed"
    assert folder.is_over.exists()


def test_a_node_that_cannot_see_the_code_fails_no_run(job):
    """Its mount is away: the start has failed, and another one may not."""
    supervisor, folder = job

    with pytest.raises(FileNotFoundError):
        supervisor.run()

    assert read_state(folder.experiment.run("a")).status == "submitted"
    assert not folder.is_over.exists()
    assert PackEventKind.START_FAILED in {event["event"] for event in read_pack_events(folder)}


class Replaced:
    """The pack of job 12, which starts again; it was being replaced when that was cut short."""

    def __init__(self, folder, monkeypatch):
        self.folder = folder
        self.pack = ExperimentFolder(folder).pack("pack-0000")
        self.pack.path.mkdir(parents=True)
        self.has_run = False
        unsure = SubmittedJob(job_id="", submitted=0.0, resubmissions=1, replaces="12")
        write_job(self.pack, unsure)
        files = ArrayFiles(folder=self.pack.experiment.submitit, key="abc")
        files.folder.mkdir()
        files.packs.write_text("pack-0000\n")
        self._script = shlex.quote(str(files.script))
        monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
        monkeypatch.setenv("SLURM_JOB_ID", "12")
        monkeypatch.setattr(slurm_supervisor, "_SlurmPack", lambda *_: self)
        monkeypatch.setattr(slurm_supervisor, "_exit", exit)

    def says(self, program, *lines):
        (self.folder / program).write_text("\n".join(["#!/bin/sh", *lines, ""]))
        (self.folder / program).chmod(0o755)

    def knows(self, *jobs):
        """What Slurm knows: ids of jobs, and their states."""
        listed = [f"printf '%-64s%s\\n' {job_id} {self._script}" for job_id, _ in jobs]
        self.says("squeue", *listed)
        shown = [f'[ "$3" = {job_id} ] && echo JobId={job_id} JobState={s}' for job_id, s in jobs]
        self.says("scontrol", *shown)

    def run(self):
        """Stands for the supervision."""
        self.has_run = True
        return False

    def start(self):
        slurm_supervisor.run_slurm_pack(self.pack, None, TERMS, StopFlag(), print)


@pytest.fixture
def replaced(tmp_path, monkeypatch):
    return Replaced(tmp_path, monkeypatch)


def test_a_job_that_was_not_replaced_after_all_trains(replaced):
    """Otherwise it would end, and be requeued, without end."""
    replaced.knows(("12", "RUNNING"))

    replaced.start()

    assert replaced.has_run
    job = read_job(replaced.pack)
    assert (job.job_id, job.replaces, job.is_replaced("12")) == ("12", "", False)
    assert job.resubmissions == 1  # or its later starts would seem to be earlier ones


def test_a_job_that_was_replaced_unseen_gives_way(replaced):
    """And says which one has the pack: so the batch script does not requeue."""
    replaced.knows(("12", "RUNNING"), ("13", "PENDING"))

    with pytest.raises(SystemExit):
        replaced.start()

    assert not replaced.has_run
    assert read_job(replaced.pack).job_id == "13"


def test_a_job_trains_while_slurm_does_not_answer(replaced):
    """Should there be another one, that ends: the pack has this one."""
    replaced.says("squeue", "exit 1")

    replaced.start()

    assert replaced.has_run
    assert read_job(replaced.pack).is_replaced("13")

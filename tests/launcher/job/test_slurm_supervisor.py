"""What a supervisor of a Slurm job makes of its start."""

import pytest

from launcher.experiment.experiment_folder import ExperimentFolder
from launcher.job import slurm_supervisor
from launcher.job.bookkeeping import PackRecords
from launcher.job.node import ThisNode
from launcher.job.pack import Member, Pack, PackEventKind, read_pack_events
from launcher.job.requeue import JobRequeue
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

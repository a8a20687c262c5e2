"""When a job that never comes up is given up."""

import pytest

from launcher.experiment.experiment_folder import ExperimentFolder
from launcher.job import batch_end
from launcher.job.bad_nodes import read_node_failures
from launcher.job.batch_end import _is_superseded, count_failed_starts
from launcher.job.node import ThisNode
from launcher.job.pack import (
    Member,
    Pack,
    PackEventKind,
    SubmittedJob,
    append_pack_event,
    read_pack_events,
    write_job,
    write_pack,
)
from tests.launcher.job.test_node_supervisor import TERMS
from trainers.run.run_state import RunState, write_state


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        ([], 0),
        ([1, 1, 1], 3),
        (["began", 1, 1], 2),
        ([1, "started", 137], 2),
        ([1, "started", "began", "started", 1], 1),
        ([1, 143, 140, 1], 2),
        ([143, 143, 143, 143, 143, 143, 143], 0),
    ],
)
def test_steps_that_nobody_has_told_to_stop(tmp_path, statuses, expected):
    """They count since a member began last; those that Slurm has stopped do not."""
    pack = ExperimentFolder(tmp_path).pack("pack-0000")
    pack.path.mkdir(parents=True)
    for status in statuses:
        if status in ("started", "began"):
            append_pack_event(pack, PackEventKind(status))
        else:
            append_pack_event(pack, PackEventKind.STEP_ENDED, status=status)

    assert count_failed_starts(list(read_pack_events(pack))) == expected


@pytest.mark.parametrize(
    ("job_id", "replaces", "is_superseded"),
    [("13", "12", True), ("", "12", False), ("12", "", False)],
)
def test_a_submission_that_was_killed_is_made_again(tmp_path, job_id, replaces, is_superseded):
    """Only once the new job has an id has the pack moved on."""
    pack = ExperimentFolder(tmp_path).pack("pack-0000")
    pack.path.mkdir(parents=True)
    submitted = SubmittedJob(job_id=job_id, submitted=0.0, replaces=replaces)

    assert _is_superseded(pack, submitted, ThisNode(name="n1", job="12")) == is_superseded


@pytest.mark.parametrize(
    ("status", "left", "calls"),
    [
        (0, "waiting", ["requeue 12"]),
        (0, "finished", ["update JobId=12 Requeue=0"]),
        (1, "waiting", ["requeue 12"]),
    ],
    ids=["supervisor-could-not", "nothing-left", "supervisor-died"],
)
def test_the_batch_script_requeues(tmp_path, monkeypatch, status, left, calls):
    """What its supervisor could not; a node is to blame only for a supervisor that died."""
    folder = ExperimentFolder(tmp_path).pack("pack-0000")
    folder.path.mkdir(parents=True)
    run = folder.experiment.run("a")
    run.path.mkdir(parents=True)
    write_state(run, RunState(status=left, pack=folder.name))
    member = Member(name="a", gpus=1, cpus=1)
    write_pack(folder, Pack(members=(member,), machine=None, grace_s=8.0, slurm=TERMS))
    write_job(folder, SubmittedJob(job_id="12", submitted=0.0))
    scontrol = tmp_path / "scontrol"
    show = "[ $1 = show ] && echo JobId=12 JobState=RUNNING Restarts=0 && exit"
    scontrol.write_text(f'#!/bin/sh\n{show}\necho "$@" >> {tmp_path}/calls\n')
    scontrol.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    monkeypatch.setenv("SLURMD_NODENAME", "n1")
    monkeypatch.setattr("sys.argv", ["batch_end", str(folder.path), str(status)])

    assert batch_end.main() == status

    assert (tmp_path / "calls").read_text().splitlines() == calls
    assert bool(read_node_failures(folder.experiment)) == (status != 0)

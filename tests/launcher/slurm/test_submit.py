import os
import subprocess
import sys

import pytest

from launcher.experiment.experiment_folder import ExperimentFolder
from launcher.job.bad_nodes import NodeFailureKind, read_node_failures
from launcher.job.pack import read_pack_events
from launcher.slurm import submit


@pytest.fixture
def experiment(tmp_path) -> ExperimentFolder:
    folder = ExperimentFolder(tmp_path / "it's mine")
    folder.pack("pack-0001").path.mkdir(parents=True)
    return folder


def run_batch_script(experiment, tmp_path, monkeypatch, *, python, restarts=0, exclude=""):
    """Run the script of task 1 of array 7, whose step exits with 2; return the scontrol calls."""
    monkeypatch.setattr(sys, "executable", python)
    listing = tmp_path / "packs.txt"
    listing.write_text("pack-0000\npack-0001\n")
    scontrol = tmp_path / "scontrol"
    scontrol.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/calls\n')
    scontrol.chmod(0o755)
    lines = submit._batch_lines(experiment, listing, exclude)
    job = {
        "SLURM_JOB_ID": "8",
        "SLURM_ARRAY_JOB_ID": "7",
        "SLURM_ARRAY_TASK_ID": "1",
        "SLURMD_NODENAME": "n1",
        "SLURM_RESTART_COUNT": str(restarts),
    }
    path = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-c", "\n".join([*lines, "exit 2"])], env=job | path)
    assert done.returncode == 2
    calls = tmp_path / "calls"
    return calls.read_text().splitlines() if calls.exists() else []


def test_a_node_without_our_python_is_left(experiment, tmp_path, monkeypatch):
    """The shell requeues the job, away from the node, and notes what happened for all to read."""
    calls = run_batch_script(experiment, tmp_path, monkeypatch, python="/no/python", exclude="n9")

    assert calls == ["requeue 7_1", "update JobId=7_1 ExcNodeList=n9,n1"]
    (failure,) = read_node_failures(experiment)
    assert (failure.node, failure.kind) == ("n1", NodeFailureKind.FAILED_START)
    assert failure.job == "7_1"
    (event,) = read_pack_events(experiment.pack("pack-0001"))
    assert (event["event"], event["status"]) == ("step ended", 2)


def test_a_job_is_not_moved_without_end(experiment, tmp_path, monkeypatch):
    """If our Python is nowhere, the job fails as it did."""
    calls = run_batch_script(experiment, tmp_path, monkeypatch, python="/no/python", restarts=5)

    assert calls == []


def test_a_step_that_ended_in_good_order_is_left_alone(experiment, tmp_path, monkeypatch):
    """Its supervisor has left the file `over`."""
    over = experiment.pack("pack-0001").is_over
    lines = submit._batch_lines(experiment, tmp_path / "none", "")
    script = "\n".join([*lines, f'PACK="{over.parent}"', 'touch "$PACK/over"'])

    subprocess.run(["bash", "-c", script], check=True)

    assert read_node_failures(experiment) == []


def test_a_node_with_python_leaves_it_to_batch_end(experiment, tmp_path, monkeypatch):
    """That knows more: here it finds no pack, and the node is not blamed."""
    assert run_batch_script(experiment, tmp_path, monkeypatch, python=sys.executable) == []

    assert read_node_failures(experiment) == []

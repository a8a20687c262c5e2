"""What is gathered about a run whose files are damaged, or cannot be read."""

import json

import pytest

from launcher.experiment.experiment_folder import ExperimentFolder
from launcher.explain.run_info import read_run_info
from tests.fakes.fake_slurm import job_printed, submitted


@pytest.fixture
def pack(tmp_path, slurm, monkeypatch):
    """A run whose job has printed something, before any attempt at it."""
    monkeypatch.setattr("launcher.os_errors.PATIENCE_S", 0.1)
    pack = submitted(ExperimentFolder(tmp_path / "one"), "pack-0001", "a", stalled=3)
    job_printed(pack, "no module")
    return pack


def test_the_output_of_its_job(pack):
    """All there is before the first attempt."""
    assert read_run_info(pack.experiment.run("a")).job_lines == ("no module",)


@pytest.mark.parametrize("damaged", ["state", "job"])
def test_damaged_records_are_no_bug(pack, damaged):
    """The rest is told all the same."""
    run = pack.experiment.run("a")
    (run.state if damaged == "state" else pack.job).write_text("{")

    info = read_run_info(run)

    assert info.status.name == "a"
    assert info.job_log is None


def test_a_state_that_is_away_is_named(pack):
    """Its numbers are not passed off as zero without a word."""
    run = pack.experiment.run("a")
    run.events.touch()  # it is no new run
    run.state.unlink()

    info = read_run_info(run)

    assert info.status.state == "unreadable"
    assert any(f"{run.state} is missing" in problem for problem in info.unreadable)


SCONTROL = """\
case "$2" in
  config) printf 'AccountingStorageType = accounting_storage/slurmdbd\\nClusterName = c\\n';;
  partition) echo 'PartitionName=gpu State=UP';;
  job) echo 'JobId=12 JobState=PENDING Partition=gpu Account=lab QOS=low TRES=cpu=4,gres/gpu=4';;
esac
"""
SACCTMGR = """\
case "$5" in
  qos) echo 'low|00:00:00||requeue||||||gres/gpu=2|||';;
  assoc) echo 'lab||low|low|||||';;
  *) echo 'lab';;
esac
"""


@pytest.mark.parametrize(
    ("reason", "exceeded"),
    [
        (
            "QOSMaxGRESPerUser",
            ("it asks for 4 GPUs, and QOS low (MaxTRESPerUser) gives a job at most 2",),
        ),
        ("Priority", ()),
    ],
)
def test_whether_a_job_can_ever_be_within_a_limit(pack, slurm, reason, exceeded):
    """Slurm is asked what the limit is, if one holds the job back."""
    slurm.queue(("12_3", "PENDING", reason))
    for name, script in {"scontrol": SCONTROL, "sacctmgr": SACCTMGR}.items():
        program = slurm.folder / "bin" / name
        program.write_text(f"#!/bin/sh\n{script}")
        program.chmod(0o755)

    assert read_run_info(pack.experiment.run("a")).exceeded == exceeded


def test_without_a_word_from_slurm_the_reason_has_to_do(pack, slurm):
    """No scontrol is there to ask."""
    slurm.queue(("12_3", "PENDING", "QOSMaxGRESPerUser"))

    info = read_run_info(pack.experiment.run("a"))

    assert (info.exceeded, info.queued.reason) == ((), "QOSMaxGRESPerUser")


def test_the_limits_of_its_job(pack):
    """As they were at the submission."""
    manifest = json.loads(pack.manifest.read_text())
    manifest["slurm"]["limits"] = ["2 GPUs, by QOS low (MaxTRESPerUser)"]
    pack.manifest.write_text(json.dumps(manifest))

    assert read_run_info(pack.experiment.run("a")).limits == (
        "2 GPUs, by QOS low (MaxTRESPerUser)",
    )

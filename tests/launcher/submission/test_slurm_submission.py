"""What a job does before its step; records of jobs that Slurm has taken."""

import shutil
import subprocess
from pathlib import Path

import pytest

from launcher import file_lock
from launcher.errors import LockHeldError, SubmissionError
from launcher.experiment.experiment_folder import ExperimentFolder
from launcher.job.pack import read_job
from launcher.submission.plan import PlannedRun
from launcher.submission.record_jobs import record_jobs
from launcher.submission.slurm_submission import setup_lines
from launcher.submission.submission import restore_states
from tests.fakes.fake_slurm import submitted
from trainers.errors import StateUnavailableError
from trainers.run.run_state import Status, read_state


@pytest.fixture
def packs(tmp_path):
    experiment = ExperimentFolder(tmp_path / "one")
    return [submitted(experiment, f"pack-000{n}", name, job_id=None) for n, name in enumerate("ab")]


def test_each_pack_has_its_job(packs, slurm):
    """By which its runs are found in the queue."""
    record_jobs(packs, ["12_0", "12_1"])

    assert [read_job(pack).job_id for pack in packs] == ["12_0", "12_1"]
    assert slurm.calls("scancel") == []


def test_jobs_that_cannot_be_recorded_are_cancelled(packs, slurm):
    """They would wait for the record in vain; why is said."""
    shutil.rmtree(packs[1].path)

    with pytest.raises(SubmissionError) as caught:
        record_jobs(packs, ["12_0", "12_1"])

    assert str(caught.value).startswith(
        f"the jobs 12_0, 12_1 cannot be recorded: {packs[1].job}: No such file or directory, while "
        "recording job 12_1: "
    )
    assert str(caught.value).endswith("; they were cancelled")
    assert slurm.calls("scancel") == ["--quiet 12_0 12_1"]


def test_jobs_that_can_be_neither_recorded_nor_cancelled(packs, slurm):
    """Are left to the user, with what Slurm says."""
    shutil.rmtree(packs[0].path)
    (slurm.folder / "scancel.sh").write_text("echo 'scancel: error: timed out' >&2; exit 1")

    with pytest.raises(SubmissionError, match="; cancel them: `scancel --quiet 12_0 12_1`: "):
        record_jobs(packs, ["12_0", "12_1"])


@pytest.mark.parametrize("refusal", [LockHeldError("locked"), StateUnavailableError("away")])
def test_a_run_that_cannot_be_given_back_stops_no_other(packs, monkeypatch, refusal):
    """The refusal of Slurm is what counts; the next run is as before."""
    first, second = (pack.experiment.run(name) for pack, name in zip(packs, "ab", strict=True))
    hold = file_lock.hold

    def refuse_first(path, **options):
        if path == first.state_lock:
            raise refusal
        return hold(path, **options)

    monkeypatch.setattr(file_lock, "hold", refuse_first)
    runs = [PlannedRun(config=None, folder=run, state=Status.FAILED) for run in (first, second)]

    restore_states(runs)

    assert [read_state(run).status for run in (first, second)] == ["submitted", "failed"]


@pytest.mark.parametrize(
    ("setup", "environment", "before", "expected"),
    [
        ((), {}, None, "/my code"),
        ((), {}, "/of/the/shell", "/my code:/of/the/shell"),
        ((), {"PYTHONPATH": "/of/the/config"}, "/of/the/shell", "/my code:/of/the/config"),
        (("export PYTHONPATH=/module:$PYTHONPATH",), {}, "/a:/b", "/my code:/module:/a:/b"),
        ((), {}, "/my code:/a", "/my code:/a"),
    ],
)
def test_the_snapshot_is_first_on_the_path(setup, environment, before, expected):
    """What modules, config and shell have put there follows, also in a job that a job submits."""
    lines = setup_lines(setup, environment, Path("/my code"))
    script = "\n".join([*lines, 'printenv PYTHONPATH; [ "$PYTHONSAFEPATH" = 1 ]'])
    shell = {"PATH": "/usr/bin:/bin"} | ({} if before is None else {"PYTHONPATH": before})

    done = subprocess.run(["bash", "-c", script], env=shell, stdout=subprocess.PIPE, check=True)

    assert done.stdout.decode() == f"{expected}\n"

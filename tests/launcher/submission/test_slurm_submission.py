"""What becomes of jobs that Slurm has taken, and whose records cannot be written."""

import shutil

import pytest

from launcher import file_lock
from launcher.errors import LockHeldError, SubmissionError
from launcher.experiment.experiment_folder import ExperimentFolder
from launcher.job.pack import read_job
from launcher.submission.plan import PlannedRun
from launcher.submission.slurm_submission import record_jobs
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

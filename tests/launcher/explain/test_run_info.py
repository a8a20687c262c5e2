"""What is gathered about a run whose files are damaged, or cannot be read."""

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

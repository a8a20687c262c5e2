"""Runs of another user: whose they are is recorded, and nobody goes on with them by accident."""

import json
import os
import stat

import attrs
import pytest

from launcher.experiment.experiment import read_experiment
from launcher.job.pack import owner_of, read_job, read_pack, write_job, write_pack
from launcher.submission.cancel import cancel_runs
from launcher.submission.plan import plan_runs
from launcher.submission.write_runs import write_submitted
from tests.fakes.fake_slurm import submitted
from trainers.run.group_folder import create_for_group
from trainers.run.run_state import read_state, write_state

FILE = "dummies.yaml"


@pytest.fixture
def theirs(workplace, slurm):
    """A run that another user has submitted, and whose job is over."""
    (run,) = plan_runs(workplace.experiment, read_experiment(workplace.folder / FILE).runs)
    write_submitted(run, pack="pack-0000")
    pack = submitted(workplace.experiment, "pack-0000", "dummies", status="failed")
    write_job(pack, attrs.evolve(read_job(pack), user="them", uid=54321))
    return pack


def test_who_submitted_is_recorded(workplace, slurm):
    """In both records; what an earlier version has written is nobody's."""
    pack = submitted(workplace.experiment, "pack-0000", "dummies")
    assert (read_job(pack).uid, read_pack(pack).uid) == (os.getuid(), os.getuid())
    assert read_pack(pack).user == read_job(pack).user == owner_of(pack).name != ""

    for path in (pack.job, pack.manifest):
        record = json.loads(path.read_text())
        path.write_text(json.dumps({key: record[key] for key in record.keys() - {"user", "uid"}}))
    assert (read_job(pack).uid, read_pack(pack).user) == (None, "")
    assert owner_of(pack) is None


@pytest.mark.parametrize("arguments", [(), ("--dry-run",)])
def test_runs_of_others_are_not_submitted_again(workplace, theirs, arguments):
    """The sentence says whose they are; nothing is written."""
    before = theirs.experiment.run("dummies").state.read_bytes()

    assert workplace.submit(*arguments) == 2
    assert "(dummies: submitted by them)" in workplace.err
    assert "--take-over" in workplace.err
    command = ("resubmit", "experiments", "--state=failed", "--cluster=local", *arguments)
    assert workplace.launch(*command) == 2
    assert "(dummies: submitted by them)" in workplace.err

    assert theirs.experiment.run("dummies").state.read_bytes() == before


def test_runs_of_others_are_taken_over(workplace, theirs):
    """With the option; runs of nobody in particular need none."""
    assert workplace.submit("--take-over", "--dry-run") == 0
    assert "to submit: was failed" in workplace.out

    write_job(theirs, attrs.evolve(read_job(theirs), user="", uid=None))
    write_pack(theirs, attrs.evolve(read_pack(theirs), user="", uid=None))
    assert workplace.submit("--dry-run") == 0


def test_a_finished_run_of_somebody_else_is_no_problem(workplace, theirs):
    """Nothing is to be done with it."""
    run = theirs.experiment.run("dummies")
    write_state(run, attrs.evolve(read_state(run), status="finished", iteration=5))

    assert workplace.submit() == 3


def test_a_cancellation_says_whose_run_it_was(workplace, theirs, slurm):
    """Who may write there may cancel."""
    run = theirs.experiment.run("dummies")
    write_state(run, attrs.evolve(read_state(run), status="waiting"))
    slurm.queue(("12_3", "PENDING", "Priority"))

    (outcome,) = cancel_runs([run])

    assert outcome.outcome.startswith("cancelled")
    assert outcome.outcome.endswith("; it was submitted by them")


@pytest.fixture
def umask():
    """That of most users; the test may change it."""
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.mark.parametrize(
    ("mode", "expected"),
    [(0o2775, 0o664), (0o2755, 0o644), (0o755, 0o644), (0o775, 0o664), (0o1777, 0o644)],
)
def test_what_is_made_in_a_folder_of_a_group_is_the_groups(tmp_path, umask, mode, expected):
    """If it may write there, and new files get it; the nearest folder that exists counts."""
    folder = tmp_path / "lab"
    folder.mkdir()
    os.chown(folder, -1, os.getegid())
    folder.chmod(mode)

    with create_for_group(folder / "experiments" / "one"):
        (folder / "file").touch()

    assert stat.S_IMODE((folder / "file").stat().st_mode) == expected
    (folder / "later").touch()
    assert stat.S_IMODE((folder / "later").stat().st_mode) == 0o644


def test_a_forgotten_umask_locks_no_colleague_out(workplace, slurm, umask):
    """All files of a submission and of its runs can be written by the group."""
    workplace.folder.chmod(0o2775)

    assert workplace.submit("--wait") == 0

    made = [path for path in workplace.experiment.path.rglob("*") if not path.is_symlink()]
    closed = [path for path in made if not path.stat().st_mode & stat.S_IWGRP]
    assert made and closed == []
    assert os.umask(0o022) == 0o022  # of a program that uses the launcher

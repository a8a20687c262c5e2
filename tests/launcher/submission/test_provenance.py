"""What a submission leaves in run folders about its origin."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from launcher.experiment.experiment import read_experiment
from launcher.submission.plan import plan_runs
from launcher.submission.provenance import git_commits, submission_record
from launcher.submission.write_runs import write_submitted
from trainers.run.run_folder import RunFolder
from trainers.run.submission_record import SubmissionRecord, read_submission, write_submission

IDENTITY = ("-c", "user.name=a", "-c", "user.email=a@example.org")


def git(folder: Path, *words: str) -> str:
    command = ["git", "-C", str(folder), *IDENTITY, *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A repository of a user's modules."""
    folder = tmp_path / "my project"
    (folder / "nets").mkdir(parents=True)
    (folder / "nets" / "net.py").write_text("x = 1\n")
    git(folder, "init", "--quiet")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "-m", "first")
    return folder


def test_a_commit_is_named_and_changes_are_told(project: Path) -> None:
    """Modules in a folder of a repository have its commit; edits since then are not hidden."""
    commit = git(project, "rev-parse", "HEAD")
    assert git_commits([project / "nets", project]) == {"my project": commit}

    (project / "nets" / "net.py").write_text("x = 2\n")
    assert git_commits([project / "nets"]) == {"my project": f"{commit} + uncommitted changes"}


def test_what_no_repository_tracks_has_no_commit(project: Path, tmp_path: Path) -> None:
    """An environment inside of a project is not the project; a folder without git is nothing."""
    installed = project / "env"
    installed.mkdir()
    (installed / "module.py").write_text("")

    assert git_commits([installed, tmp_path / "missing"]) == {}


def test_a_run_says_how_it_was_submitted(workplace) -> None:
    """The command can be pasted into a shell; the last submission counts."""
    experiment = read_experiment(Path("dummies.yaml"), ["seed=7", "name=a"])
    (run,) = plan_runs(workplace.experiment, experiment.runs)
    first = submission_record(experiment, cluster="lab", partition="gpu_long", code="c0de")
    write_submitted(run, pack="pack-0000", record=first)

    found = read_submission(run.folder)
    assert found == first
    assert found.command == "launch submit dummies.yaml seed=7 name=a --cluster lab"
    assert (found.cluster, found.partition, found.code) == ("lab", "gpu_long", "c0de")

    (again,) = plan_runs(workplace.experiment, experiment.runs)
    second = submission_record(experiment, cluster="local")
    write_submitted(again, pack="pack-0001", record=second)
    assert read_submission(run.folder) == second


def test_a_record_of_another_version_is_read_as_far_as_it_is_known(tmp_path: Path) -> None:
    """Unknown keys are ignored; a run of an earlier version has none."""
    folder = RunFolder(tmp_path)
    assert read_submission(folder) is None

    write_submission(folder, SubmissionRecord(command="launch submit a.yaml", cluster="lab"))
    text = folder.submission.read_text().replace("{", '{"later": 1,', 1)
    folder.submission.write_text(text)

    assert read_submission(folder).cluster == "lab"

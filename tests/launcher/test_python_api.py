"""`import launcher`: what the command does, from Python."""

import subprocess
import sys
from pathlib import Path

import attrs
import pytest

import launcher
from launcher.errors import LauncherError
from launcher.submission.submission import Submission
from trainers.errors import ConfigError
from trainers.run import run_state
from trainers.run.run_state import Status

FILE = "dummies.yaml"
OPTIONS = launcher.SubmitOptions(allow_invalid=True)
"""Dummy trainers are for tests, and say so."""


def test_every_public_name_is_there() -> None:
    """`__all__` is what the package hands on, and nothing of it is missing."""
    for name in launcher.__all__:
        assert getattr(launcher, name) is getattr(launcher, name)
    assert set(launcher.__all__) <= set(dir(launcher))


def test_an_unknown_name_is_an_attribute_error() -> None:
    """A misspelt name fails as in any module."""
    with pytest.raises(AttributeError, match="'launcher' has no attribute 'submti'"):
        launcher.submti  # noqa: B018


def test_importing_it_imports_no_command() -> None:
    """Each name is imported when it is first used."""
    code = "import sys, launcher; print(*(m for m in sys.modules if m.startswith('launcher.')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.split() == []


@pytest.mark.slow
def test_a_run_is_submitted_watched_and_cancelled(workplace) -> None:
    """The same life as with the command, and the same results."""
    submission = launcher.submit(FILE, "local", ["num_iterations=1000000"], OPTIONS)

    assert isinstance(submission, Submission)
    assert [run.config.name for run in submission.due] == ["dummies"]
    workplace.wait_for_iteration()
    (status,) = launcher.status("experiments/dummies")
    assert (status.name, status.state) == ("dummies", Status.RUNNING)
    (cancellation,) = launcher.cancel("experiments")
    assert cancellation.name == "dummies"
    workplace.wait()
    (status,) = launcher.status(submission.folder.path)
    assert status.state == Status.CANCELLED
    assert launcher.submit(FILE, "local", ["num_iterations=1"], OPTIONS).packs
    workplace.wait()
    assert not launcher.submit(FILE, "local", ["num_iterations=1"], OPTIONS).due


def test_a_dry_run_writes_nothing(workplace, tmp_path: Path) -> None:
    """It decides as usual."""
    options = attrs.evolve(OPTIONS, root=tmp_path / "elsewhere", dry_run=True)

    submission = launcher.submit(FILE, "local", options=options)

    assert len(submission.due) == 1 and not submission.packs
    assert not (tmp_path / "elsewhere").exists()


def test_an_experiment_may_be_read_before(workplace) -> None:
    """Overrides belong to its reading then."""
    experiment = launcher.read_experiment(Path(FILE), ["seed=2"])
    options = attrs.evolve(OPTIONS, dry_run=True)

    assert len(launcher.submit(experiment, "local", options=options).due) == 1
    with pytest.raises(LauncherError, match="already read: seed=3; pass them to read_experiment"):
        launcher.submit(experiment, "local", ["seed=3"], options)


@pytest.mark.parametrize(
    ("cluster", "slurm", "message"),
    [
        (
            "debug",
            {},
            "debug trains in the foreground; use the command: launch submit",
        ),
        ("lokal", {}, "no cluster 'lokal'; did you mean 'local'?"),
        ("local", {"partition": "gpu"}, "--partition: only for clusters of kind slurm"),
    ],
)
def test_what_a_cluster_cannot_do_is_refused(workplace, cluster, slurm, message) -> None:
    """With the reason, and what to do."""
    options = attrs.evolve(OPTIONS, slurm=launcher.SlurmOptions(**slurm))

    with pytest.raises(LauncherError) as caught:
        launcher.submit(FILE, cluster, options=options)

    assert message in str(caught.value)


def test_a_run_that_can_be_of_no_use_is_refused(workplace) -> None:
    """As the command does without --allow-invalid."""
    with pytest.raises(ConfigError, match="dummies: "):
        launcher.submit(FILE, "local")


def test_options_are_checked_when_they_are_made() -> None:
    """A bad value is named at once."""
    with pytest.raises(ValueError, match="'nodes' must be >= 1: 0"):
        launcher.SlurmOptions(nodes=0)
    assert attrs.evolve(launcher.SubmitOptions(), root="a").root == Path("a")


def test_the_state_of_a_run_that_is_over_is_read_once(workplace, monkeypatch) -> None:
    """However many parts of a submission want to know it."""
    sweep = ["sweep.seed=[1, 2, 3]"]
    for run in launcher.submit(FILE, "local", sweep, attrs.evolve(OPTIONS, dry_run=True)).runs:
        run.folder.path.mkdir(parents=True)
        state = run_state.RunState(
            status=Status.FINISHED, iteration=5, identity=run.config.fingerprint
        )
        run_state.write_state(run.folder, state)
    reads = []
    read_bytes = Path.read_bytes

    def counted(path: Path) -> bytes:
        if path.name == "state.json":
            reads.append(path.parent.name)
        return read_bytes(path)

    monkeypatch.setattr(Path, "read_bytes", counted)
    assert not launcher.submit(FILE, "local", sweep, OPTIONS).due

    assert sorted(reads) == ["seed-1", "seed-2", "seed-3"]

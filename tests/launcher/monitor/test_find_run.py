"""What the words of a command line stand for."""

from pathlib import Path

import pytest

from launcher.errors import LauncherError
from launcher.experiment.experiment_folder import ExperimentFolder
from launcher.monitor.find_run import find_run, find_targets
from trainers.run.run_state import RunState, write_state

ROOT = Path("experiments")


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """A folder of experiments: a sweep, one whose only run has its name, and one with brackets."""
    monkeypatch.chdir(tmp_path)
    for experiment, run in (
        ("sweep", "lr-1"),
        ("sweep", "lr-2"),
        ("sweep", "alone"),
        ("alone", "alone"),
        ("a[1]", "größe"),
    ):
        folder = ExperimentFolder(tmp_path / ROOT / experiment).run(run)
        folder.path.mkdir(parents=True)
        write_state(folder, RunState())
    return tmp_path


def names(*targets):
    return [f"{run.path.parts[-3]}/{run.name}" for run in find_targets(targets, ROOT)]


@pytest.mark.parametrize(
    ("targets", "expected"),
    [
        ([], ["a[1]/größe", "alone/alone", "sweep/alone", "sweep/lr-1", "sweep/lr-2"]),
        (["sweep"], ["sweep/alone", "sweep/lr-1", "sweep/lr-2"]),
        (["lr-1"], ["sweep/lr-1"]),
        (["sweep/lr-1"], ["sweep/lr-1"]),
        (["lr-*"], ["sweep/lr-1", "sweep/lr-2"]),
        (["s*/lr-[12]"], ["sweep/lr-1", "sweep/lr-2"]),
        (["*/alone"], ["alone/alone", "sweep/alone"]),
        (["s*lr-1"], []),  # a pattern does not cross the slash
        (["alone"], ["alone/alone"]),  # an experiment comes before runs of its name
        (["a[1]"], ["a[1]/größe"]),
        (["gr*"], ["a[1]/größe"]),
        (["experiments"], ["a[1]/größe", "alone/alone", "sweep/alone", "sweep/lr-1", "sweep/lr-2"]),
        (["experiments/sweep/runs/lr-2"], ["sweep/lr-2"]),
        (["experiments/s*"], ["sweep/alone", "sweep/lr-1", "sweep/lr-2"]),
        (["experiments/*/runs/lr-*"], ["sweep/lr-1", "sweep/lr-2"]),
        (["lr-2", "sweep/lr-2", "lr-1"], ["sweep/lr-2", "sweep/lr-1"]),
    ],
)
def test_what_a_word_stands_for(targets, expected):
    """Folders, names and patterns alike; a run is there once, however often it is named."""
    if not expected:
        with pytest.raises(LauncherError, match="no run or experiment"):
            names(*targets)
        return
    assert names(*targets) == expected


def test_an_absolute_pattern(here):
    """As a script would give it."""
    assert names(f"{here}/experiments/*/runs/lr-1") == ["sweep/lr-1"]


def test_a_folder_of_anything_else_hides_no_name(here):
    """Data of an experiment may lie beside its file, under the same name."""
    (here / "sweep").mkdir()

    assert names("sweep/lr-1") == ["sweep/lr-1"]
    assert names("sweep") == ["sweep/alone", "sweep/lr-1", "sweep/lr-2"]


@pytest.mark.parametrize(
    ("word", "message"),
    [
        (
            "swepe",
            "no run or experiment 'swepe' in experiments; did you mean 'sweep'? available: a[1], "
            "alone, sweep, größe, lr-1, lr-2. Or give a folder.",
        ),
        ("x*", "no run or experiment 'x[*]' in experiments; available: a"),
        ("sweep/lr-3", "no run or experiment 'sweep/lr-3' in experiments; "),
    ],
)
def test_a_word_that_stands_for_nothing(word, message):
    """The names that are near, and those that there are."""
    with pytest.raises(LauncherError, match=message.replace("[1]", r"\[1\]").replace("?", r"\?")):
        find_targets([word], ROOT)


def test_a_folder_without_runs_is_told(here):
    """Rather than that no run has its name."""
    (here / "notes").mkdir()

    with pytest.raises(LauncherError, match="/notes holds no runs; give"):
        find_targets(["notes"], ROOT)


def test_without_experiments_no_names_are_offered(here, monkeypatch):
    """The word may be right, and the folder wrong."""
    monkeypatch.chdir("/")

    with pytest.raises(LauncherError, match=r"'sweep': experiments holds none\. Give a folder, or"):
        find_targets(["sweep"], ROOT)


@pytest.mark.parametrize(
    ("word", "expected"),
    [("lr-1", "sweep/lr-1"), ("a[1]", "a[1]/größe"), ("sweep/a*", "sweep/alone")],
)
def test_one_run(word, expected):
    """Also by the name of an experiment that has no other, or by a pattern."""
    run = find_run(word, ROOT)

    assert f"{run.path.parts[-3]}/{run.name}" == expected


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("sweep", "'sweep' stands for 3 runs; give one of: sweep/alone, sweep/lr-1, sweep/lr-2"),
        ("alone", "'alone' stands for 2 runs; give one of: alone/alone, sweep/alone"),
        ("lr-*", "'lr-\\*' stands for 2 runs; give one of: sweep/lr-1, sweep/lr-2"),
    ],
)
def test_several_runs_where_one_is_needed(word, message):
    """They are named."""
    with pytest.raises(LauncherError, match=message):
        find_run(word, ROOT)

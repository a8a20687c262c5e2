"""What a terminal shows: colors, widths and tables that are redrawn, in a real one."""

import os
import re
import subprocess

import pytest

from launcher.experiment.experiment_folder import ExperimentFolder
from scripts.workloads import terminal
from scripts.workloads.checkout import LAUNCH
from trainers.run.run_figures import RunFigures
from trainers.run.run_state import RunState, write_state

REASON = "RankError: a rank was lost, as its node does not answer any more; see the log of rank 3"
PLAIN = {"PYTHONUTF8": "0", "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0"}


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """A run that failed, and one that finished."""
    monkeypatch.chdir(tmp_path)
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES", "COLORTERM"):
        monkeypatch.delenv(name, raising=False)
    experiment = ExperimentFolder(tmp_path / "experiments" / "one")
    for name, state in (
        ("größe", RunState(status="failed", reason=REASON, figures=RunFigures(loss=0.5))),
        ("b", RunState(status="finished", iteration=10, figures=RunFigures(loss=0.25))),
    ):
        experiment.run(name).path.mkdir(parents=True)
        write_state(experiment.run(name), attrs_of(state))
    return experiment


def attrs_of(state):
    return RunState(
        status=state.status,
        reason=state.reason,
        iteration=state.iteration,
        num_iterations=10,
        figures=state.figures,
    )


def in_terminal(*words, columns=100, lines=30, **environment):
    """What a terminal of this size is sent."""
    env = {**os.environ, "TERM": "xterm-256color", **environment}
    shown = terminal.in_terminal([*LAUNCH, *words], columns=columns, lines=lines, environment=env)
    assert shown.exit_code == 0, shown
    return shown.text


def in_pipe(*words, **environment):
    done = subprocess.run([*LAUNCH, *words], env={**os.environ, **environment}, capture_output=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.decode()


def without_colors(text):
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def test_a_terminal_has_colors_and_a_pipe_has_none(runs):
    """Nothing is cut in a pipe; in a terminal a line is a line."""
    shown, piped = in_terminal("status"), in_pipe("status")

    assert "\x1b[31mfailed" in shown and "\x1b[34mfinished" in shown
    assert max(map(len, without_colors(shown).splitlines())) <= 100
    assert "…" in shown and REASON not in shown
    assert REASON in piped and "\x1b" not in piped


def test_colors_can_be_forced_and_forbidden(runs):
    """By FORCE_COLOR in a pipe, by NO_COLOR anywhere."""
    forced = in_pipe("status", FORCE_COLOR="1", TERM="xterm-256color")

    assert "\x1b[31mfailed" in forced
    assert without_colors(forced) == in_pipe("status")
    assert not re.search(r"\x1b\[[0-9;]*3[0-7]", in_terminal("status", NO_COLOR="1"))
    assert "\x1b" not in in_terminal("status", TERM="dumb")


@pytest.mark.parametrize("columns", [60, 80, 120, 240])
def test_the_width_is_that_of_the_terminal(runs, columns):
    """No line is longer, and all runs are there."""
    lines = without_colors(in_terminal("status", columns=columns)).splitlines()

    assert max(map(len, lines)) <= columns
    assert [line.split()[0] for line in lines] == ["RUN", "b", "größe", "2"]


@pytest.mark.parametrize(
    ("encoding", "name"), [("ascii", "gr\\xf6\\xdfe"), ("latin-1", "gr\xf6\xdfe")]
)
def test_a_locale_of_few_letters(runs, encoding, name):
    """What it lacks is written out, and the table keeps its columns."""
    done = subprocess.run(
        [*LAUNCH, "status"],
        env={**os.environ, **PLAIN, "PYTHONIOENCODING": encoding},
        capture_output=True,
    )

    lines = done.stdout.decode(encoding).splitlines()
    assert lines[2].startswith(f"{name}  failed")
    assert lines[1].index("finished") == lines[2].index("failed")


def test_a_watch_ends_with_its_runs(runs):
    """The last picture stays, and failures are told in full after it."""
    shown = without_colors(in_terminal("status", "--watch"))

    assert "2 runs: 1 finished, 1 failed" in shown
    assert shown.endswith(f"größe: failed, iteration 0 of 10, loss 0.5000: {REASON}\n")


def test_a_watch_in_a_pipe_has_lines(runs):
    """A log is no place for a table that is redrawn."""
    assert in_pipe("status", "--watch") == (
        "größe: failed, iteration 0 of 10, loss 0.5000: RankError: a rank was lost, as its node "
        "does not answer any more; see the log of rank 3\n"
        "2 runs: 1 finished, 1 failed; iteration 10 of 20\n"
        "2 runs: 1 finished, 1 failed; iteration 10 of 20\n"
    )


def test_runs_are_chosen_sorted_and_limited(runs):
    """What is left out is told."""
    assert in_pipe("status", "--state", "finished", "one").splitlines()[1:] == [
        "b    finished  10 of 10   0.2500",
        "2 runs: 1 finished, 1 failed; iteration 10 of 20; 1 not shown",
    ]
    assert in_pipe("status", "--sort=loss", "--limit=1").splitlines()[1].startswith("b ")
    assert in_pipe("status", "--state=running").splitlines() == [
        "2 runs: 1 finished, 1 failed; iteration 10 of 20; 2 not shown"
    ]
    assert in_pipe("status", "--state=running", "--json") == "[]\n"

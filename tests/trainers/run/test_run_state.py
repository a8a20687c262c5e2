import json
import threading

import attrs
import pytest

from scripts.workloads.logs import json_lines
from trainers import exit_codes
from trainers.errors import ConfigError
from trainers.run.failure_class import exit_code_of
from trainers.run.run_figures import BestMetric, RunFigures
from trainers.run.run_folder import RunFolder
from trainers.run.run_state import (
    READ_TIMEOUT_S,
    Cause,
    EventKind,
    RunState,
    Status,
    append_event,
    open_state,
    read_state,
    write_state,
)


def test_a_new_run_is_planned(tmp_path):
    """A folder without state.json and events holds a run that was never started."""
    assert read_state(RunFolder(tmp_path)) == RunState(status="planned", iteration=0)


def test_the_state_of_a_run_that_exists_is_never_made_up(tmp_path):
    """Missing, it may be away; the error says what to do, and the launcher takes it for one."""
    folder = RunFolder(tmp_path / "run")
    for _ in range(2):
        with pytest.raises(ConfigError, match=r"state\.json .* remove .*events\.jsonl") as caught:
            read_state(folder, timeout_s=0.0)
        assert exit_code_of(caught.value) == exit_codes.UNAVAILABLE
        folder.path.mkdir(exist_ok=True)
        append_event(folder, EventKind.SUBMITTED)


@pytest.mark.parametrize("left", [None, b"", b'{"status": "runn'])
def test_a_state_that_is_away_for_a_moment_is_waited_for(tmp_path, left):
    """As an NFS client sees it that reads while another one replaces it."""
    folder = RunFolder(tmp_path)
    append_event(folder, EventKind.SUBMITTED)
    if left is not None:
        folder.state.write_bytes(left)
    state = RunState(status="waiting", attempts={"preempted": 3})
    back = threading.Timer(0.3, write_state, [folder, state])
    back.start()

    assert read_state(folder) == state
    back.join()


def test_a_folder_that_is_away_longer_is_waited_for_at_a_start(tmp_path):
    """A start can wait; its state is neither made up nor written anew."""
    folder, away = RunFolder(tmp_path / "run"), tmp_path / "away"
    away.mkdir()
    state = RunState(status="waiting", attempts={"preempted": 3})
    write_state(RunFolder(away), state)
    back = threading.Timer(READ_TIMEOUT_S + 0.3, away.rename, [folder.path])
    back.start()

    assert open_state(folder, timeout_s=60.0) == state
    back.join()


def test_a_line_that_was_cut_short_spoils_no_other(tmp_path):
    """A full disk may take a part of an event; the next one begins a new line."""
    folder = RunFolder(tmp_path)
    append_event(folder, EventKind.STARTED)
    with folder.events.open("ab") as file:
        file.write(b'{"time": 17')

    append_event(folder, EventKind.CHECKPOINT)

    lines = folder.events.read_text().splitlines()
    assert [json.loads(line)["event"] for line in (lines[0], lines[2])] == ["started", "checkpoint"]


def test_state_survives_the_disk(tmp_path):
    """What was written is what is read."""
    folder = RunFolder(tmp_path)
    state = RunState(status="running", iteration=7, attempts={"preempted": 2}, wandb_id="abc")

    write_state(folder, state)

    assert read_state(folder) == state
    assert [path.name for path in tmp_path.iterdir()] == ["state.json"]


def test_attempts_are_counted_by_cause():
    """The end of an attempt adds one to its cause and leaves the others alone."""
    state = RunState(attempts={"preempted": 2}, iteration=5)

    state = state.ended(cause=Cause.CRASHED, status=Status.FAILED, reason="killed")

    assert state.attempts == {"preempted": 2, "crashed": 1}
    assert (state.status, state.reason, state.iteration) == ("failed", "killed", 5)
    assert state.num_attempts == 3


def test_what_is_no_status_is_refused():
    """A misspelt status is named."""
    with pytest.raises(ValueError, match="'runing' is not a valid Status"):
        RunState(status="runing")


def test_events_are_lines(tmp_path):
    """Every event is one JSON object with its time."""
    folder = RunFolder(tmp_path)

    append_event(folder, EventKind.STARTED, iteration=0)
    append_event(folder, EventKind.CHECKPOINT, iteration=9)

    events = json_lines(folder.events)
    assert [(each["event"], each["iteration"]) for each in events] == [
        ("started", 0),
        ("checkpoint", 9),
    ]
    assert all(each["time"] > 1.6e9 for each in events)


def test_a_later_version_may_have_written_the_state(tmp_path):
    """What is not known is passed over; what is no state at all is refused."""
    folder = RunFolder(tmp_path)
    folder.state.write_text('{"status": "waiting", "iteration": 3, "colour": "blue"}')

    assert read_state(folder) == RunState(status="waiting", iteration=3)

    folder.state.write_text('["waiting"]')
    with pytest.raises(ConfigError, match="is not the state of a run"):
        read_state(folder)


def test_attempts_in_a_row_without_a_newer_checkpoint():
    """They are counted until one is saved."""
    state = RunState()
    for saved, stalled in [(0, 1), (0, 2), (50, 0), (50, 1)]:
        state = attrs.evolve(state, saved_iteration=saved).ended(
            cause=Cause.PREEMPTED, status=Status.WAITING
        )
        assert state.stalled == stalled


def test_forgiven_attempts_count_against_no_budget():
    """They stay in the count of all attempts."""
    state = RunState(attempts={"crashed": 2}, stalled=2).reset_retry_budget()
    state = state.ended(cause=Cause.CRASHED, status=Status.WAITING)

    assert (state.num_counted("crashed"), state.num_attempts, state.stalled) == (1, 3, 1)


def test_figures_survive_the_disk(tmp_path):
    """With the best metric among them; a state without any has none."""
    folder = RunFolder(tmp_path)
    best = BestMetric(metric="loss", mode="min", value=0.5, iteration=4)
    state = RunState(figures=RunFigures(loss=0.5, best=best, node="n1", alive_at=1.5))

    write_state(folder, state)

    assert read_state(folder) == state
    folder.state.write_text('{"status": "waiting"}')
    assert read_state(folder).figures == RunFigures()


def test_a_later_version_may_have_written_the_figures(tmp_path):
    """What is not known of them is passed over."""
    folder = RunFolder(tmp_path)
    best = {"metric": "loss", "mode": "max", "value": 1, "iteration": 2, "colour": "blue"}
    folder.state.write_text(json.dumps({"figures": {"loss": 1, "smell": "rose", "best": best}}))

    figures = read_state(folder).figures

    assert figures.loss == 1
    assert figures.best == BestMetric(metric="loss", mode="max", value=1, iteration=2)


@pytest.mark.parametrize("figures", ["7", '{"loss": "low"}', '{"best": {"metric": "loss"}}', "[]"])
def test_figures_that_are_none_stop_no_run(tmp_path, figures):
    """They are for people only."""
    folder = RunFolder(tmp_path)
    folder.state.write_text(f'{{"iteration": 3, "figures": {figures}}}')

    assert read_state(folder, timeout_s=0) == RunState(iteration=3)

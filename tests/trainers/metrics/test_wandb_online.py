"""W&B with a server, with its real client."""

from __future__ import annotations

import logging
import time

import pytest

from tests.fakes.wandb_server import WandbServer
from tests.trainers.metrics.conftest import CLOSED_PORT, Attempt
from tests.trainers.metrics.runs import RUN_ID, record_of, run_config
from trainers.metrics import wandb_writer
from trainers.metrics.open_writer import open_metric_writer
from trainers.run.run_folder import RunFolder
from trainers.run.run_state import RunState, write_state
from trainers.run.wandb_record import read_wandb_record


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What we have warned of."""
    ours = [record for record in caplog.records if record.name.startswith("trainers")]
    return [record.message for record in ours if record.levelno >= logging.WARNING]


def second_attempt(folder: RunFolder) -> None:
    write_state(folder, RunState(wandb_id=RUN_ID, attempts={"preempted": 1}))


def test_a_run_is_one_run(server: WandbServer, attempt: Attempt) -> None:
    """The W&B run has the id, name, group, config and iterations of the run; it is finished."""
    attempt("online", 0, 3, finished=True)

    (run,) = server.runs.values()
    assert (run.name, run.display_name, run.group, run.project) == (RUN_ID, "first", "all", "tests")
    assert run.config["num_iterations"]["value"] == 12
    assert run.iterations == [0, 1, 2]
    assert [row["loss"] for row in run.history] == [1, 0.5, 1 / 3]
    assert run.state == "finished"


def test_a_preempted_run_goes_on(server: WandbServer, folder: RunFolder, attempt: Attempt) -> None:
    """An attempt that ends as preempted is shown so; the next one goes on in the same W&B run."""
    attempt("online", 0, 3, preempted=True)
    assert server.runs[RUN_ID].state == "preempted"

    second_attempt(folder)
    attempt("online", 3, 5, finished=True)

    (run,) = server.runs.values()
    assert run.iterations == [0, 1, 2, 3, 4]
    assert [row["segment"] for row in run.history] == [0, 0, 0, 1, 1]
    assert run.state == "finished"


def test_lost_iterations_are_rewound(
    server: WandbServer, folder: RunFolder, attempt: Attempt
) -> None:
    """After a kill the history goes on at the checkpoint, although the run still looks alive."""
    attempt("online", 0, 10)
    server.runs[RUN_ID].state = "running"

    second_attempt(folder)
    attempt("online", 7, 12, finished=True)

    run = server.runs[RUN_ID]
    assert run.iterations == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]
    assert [row["segment"] for row in run.history] == [0] * 7 + [1] * 5


def test_a_refused_rewind_is_no_loss(
    server: WandbServer, folder: RunFolder, attempt: Attempt
) -> None:
    """Where the server does not rewind, the rows that it has stay, and only later ones are sent."""
    attempt("online", 0, 10)
    server.can_rewind = False

    second_attempt(folder)
    attempt("online", 7, 12, finished=True)

    run = server.runs[RUN_ID]
    assert run.iterations == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]
    assert [row["segment"] for row in run.history] == [0] * 10 + [1] * 2


def test_a_run_that_begins_anew_keeps_each_iteration_once(
    server: WandbServer, attempt: Attempt
) -> None:
    """Without a checkpoint the run begins at 0 again, in the same W&B run."""
    attempt("online", 0, 3)
    attempt("online", 0, 5, finished=True)

    assert server.runs[RUN_ID].iterations == [0, 1, 2, 3, 4]


def test_rows_that_never_arrived_are_sent_again(server: WandbServer, attempt: Attempt) -> None:
    """What the server lacks of earlier attempts comes from metrics.jsonl."""
    attempt("online", 0, 8)
    del server.runs[RUN_ID].history[5:]

    attempt("online", 8, 10, finished=True)

    assert server.runs[RUN_ID].iterations == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]


def test_a_dead_server_costs_a_warning(
    folder: RunFolder,
    attempt: Attempt,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without a server an attempt has its rows in metrics.jsonl, and says so once."""
    monkeypatch.setattr(wandb_writer, "INIT_TIMEOUT_S", 1.0)

    attempt("online", 0, 3, preempted=True)

    assert warnings(caplog) == [
        "training continues without W&B: W&B cannot be reached from this machine"
    ]
    assert folder.metrics.read_bytes().count(b"\n") == 3
    assert read_wandb_record(folder).problem == "W&B cannot be reached from this machine"


def test_a_server_that_comes_back_gets_everything(
    server: WandbServer, folder: RunFolder, attempt: Attempt, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An online attempt sends what an earlier one could not."""
    with monkeypatch.context() as outage:
        outage.setattr(wandb_writer, "INIT_TIMEOUT_S", 1.0)
        outage.setenv("WANDB_BASE_URL", CLOSED_PORT)
        attempt("online", 0, 3, preempted=True)
    attempt("online", 3, 5, finished=True)

    assert server.runs[RUN_ID].iterations == [0, 1, 2, 3, 4]
    record = read_wandb_record(folder)
    assert (record.iteration, record.told, record.problem) == (4, "finished", "")


def test_an_offline_run_that_goes_online_sends_everything(
    server: WandbServer, folder: RunFolder, attempt: Attempt
) -> None:
    """What an offline attempt has recorded is sent; `wandb sync` would not send it again."""
    attempt("offline", 0, 3, preempted=True)
    attempt("online", 3, 5, finished=True)

    assert server.runs[RUN_ID].iterations == [0, 1, 2, 3, 4]
    assert len(list(folder.wandb.glob("offline-run-*/*.wandb.synced"))) == 1


def test_a_server_that_dies_costs_a_warning(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """When the server dies under a run, every row is in metrics.jsonl, and nothing waits for it."""
    monkeypatch.setattr(wandb_writer, "FINISH_TIMEOUT_S", 1.0)
    server = WandbServer()
    monkeypatch.setenv("WANDB_BASE_URL", server.url)
    writer = open_metric_writer(run_config("online"), record_of(folder), start_iteration=0)
    writer.write(0, {"loss": 1.0})
    while RUN_ID not in server.runs:
        time.sleep(0.01)
    server.close()
    for iteration in range(1, 1000):
        writer.write(iteration, {"loss": 1.0})
    writer.close(finished=True, preempted=False)

    assert warnings(caplog) == [
        "training continues without W&B: W&B does not answer",
        "W&B has no rows after iteration -1; `launch sync` sends them, or the next attempt",
    ]
    assert folder.metrics.read_bytes().count(b"\n") == 1000


def test_the_key_is_nowhere(
    server: WandbServer, folder: RunFolder, attempt: Attempt, api_key: str
) -> None:
    """No file of a run holds the user's API key."""
    attempt("online", 0, 3, finished=True)
    attempt("offline", 3, 5, finished=True)

    files = [path for path in folder.path.rglob("*") if path.is_file()]
    assert len(files) > 5
    assert [path for path in files if api_key.encode() in path.read_bytes()] == []


def test_no_key_costs_a_warning(
    server: WandbServer,
    folder: RunFolder,
    attempt: Attempt,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A user who is not logged in is told so, in the log; nobody is asked for a key."""
    monkeypatch.delenv("WANDB_API_KEY")

    attempt("online", 0, 2, finished=True)

    (warning,) = warnings(caplog)
    assert "there is no API key of W&B: log in with `wandb login`" in warning
    assert server.runs == {}

"""W&B servers that are away, slow, refuse, forget or hang, with W&B's real client."""

from __future__ import annotations

import gc
import json
import logging
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.fakes.wandb_server import Fault, WandbServer
from tests.trainers.metrics.conftest import API_KEY
from tests.trainers.metrics.runs import RUN_ID, record_of, run_config, wait_until
from tests.trainers.metrics.services import services_of
from trainers.metrics import row_feed, row_transfer, wandb_writer
from trainers.metrics.metric_writer import MetricWriter
from trainers.metrics.open_writer import open_metric_writer
from trainers.metrics.wandb_writer import WandbWriter
from trainers.run.run_folder import RunFolder
from trainers.run.run_record import RunRecord
from trainers.run.wandb_record import read_wandb_record

NUM_ROWS = 12


pytestmark = pytest.mark.filterwarnings(
    "ignore:subprocess .* is still running:ResourceWarning"  # W&B does not wait for what is killed
)


@pytest.fixture(autouse=True)
def impatience(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Ask and try again as soon as possible."""
    for module, name, seconds in (
        (row_feed, "FIRST_DELAY_S", 0.1),
        (row_feed, "LONGEST_DELAY_S", 0.2),
        (row_transfer, "CONFIRM_S", 0.2),
        (row_transfer, "LOST_AFTER_S", 8.0),
        (row_transfer, "POLL_S", 0.05),
        (wandb_writer, "INIT_TIMEOUT_S", 20.0),
        (wandb_writer, "TRANSMIT_S", 1.0),
    ):
        monkeypatch.setattr(module, name, seconds)
    yield
    gc.collect()


@pytest.fixture
def record(folder: RunFolder) -> Iterator[RunRecord]:
    record = record_of(folder)
    yield record
    record.close(10.0)


@pytest.fixture
def writer(record: RunRecord, server: WandbServer) -> Iterator[MetricWriter]:
    """The writer of an attempt that is going on; closed by the test."""
    writer = open_metric_writer(run_config("online"), record, start_iteration=0)
    yield writer
    writer.close(finished=False, preempted=False)


def train(writer: MetricWriter, start: int, stop: int) -> None:
    for iteration in range(start, stop):
        writer.write(iteration, {"loss": 1 / (iteration + 1)})
    writer.sync()


def arrives(server: WandbServer, num_rows: int) -> Callable[[], bool]:
    rows = list(range(num_rows))
    return lambda: RUN_ID in server.runs and server.runs[RUN_ID].iterations == rows


def problem_of(record: RunRecord) -> str:
    record.flush(10.0)
    found = read_wandb_record(record.folder)
    return found.problem if found else ""


def events_of(folder: RunFolder) -> list[dict[str, str]]:
    return [json.loads(line) for line in folder.events.read_text().splitlines()]


@pytest.mark.parametrize(
    ("status", "sentence"),
    [
        (401, "W&B does not accept the API key (401)"),
        (403, "this account may not write to the W&B project (403)"),
        (404, "the W&B run or its project is gone (404)"),
        (409, "W&B does not take the run's id (409)"),
    ],
)
def test_a_refusal_is_told_and_tried_again(
    server: WandbServer,
    record: RunRecord,
    status: int,
    sentence: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What the server says is in the log, in events.jsonl, in the state, and in wandb.json; once it
    takes the run, all rows arrive while the training goes on."""
    server.fault = lambda operation: status
    writer = open_metric_writer(run_config("online"), record, start_iteration=0)
    train(writer, 0, 5)
    wait_until(lambda: problem_of(record).startswith(sentence))
    assert "".join(record.concerns.values()).startswith(f"W&B lacks rows: {sentence}")
    assert sentence in caplog.text

    server.fault = lambda operation: None
    train(writer, 5, NUM_ROWS)
    wait_until(arrives(server, NUM_ROWS))
    writer.close(finished=True, preempted=False)
    record.flush(10.0)

    assert server.runs[RUN_ID].state == "finished"
    assert record.concerns == {}
    told = [event["event"] for event in events_of(record.folder)]
    assert told == ["W&B silent", "W&B answers"]
    assert API_KEY not in caplog.text


@pytest.mark.parametrize("fault", [429, 500, 503, "reset"])
def test_a_fault_at_the_start_passes(server: WandbServer, record: RunRecord, fault: Fault) -> None:
    """A server that is overloaded or broken for some requests gets all rows."""
    left = [fault] * 3
    server.fault = lambda operation: left.pop() if left else None
    writer = open_metric_writer(run_config("online"), record, start_iteration=0)
    train(writer, 0, NUM_ROWS)
    wait_until(arrives(server, NUM_ROWS))
    writer.close(finished=True, preempted=False)

    assert left == []
    assert server.runs[RUN_ID].state == "finished"


@pytest.mark.slow
def test_a_slow_first_answer_is_waited_for(
    server: WandbServer, record: RunRecord, caplog: pytest.LogCaptureFixture
) -> None:
    """A server that takes 12 s to answer gets all rows of a run that goes on, without a warning."""
    delays = [12.0]
    server.fault = lambda operation: delays.pop() if delays else None
    writer = open_metric_writer(run_config("online"), record, start_iteration=0)
    train(writer, 0, NUM_ROWS)
    wait_until(arrives(server, NUM_ROWS))
    writer.close(finished=True, preempted=False)

    assert [each.message for each in caplog.records if each.levelno >= logging.WARNING] == []


@pytest.mark.parametrize("fault", [404, "stall"])
def test_rows_that_the_client_drops_are_sent_again(
    server: WandbServer, record: RunRecord, fault: Fault
) -> None:
    """W&B's client drops all further rows after a refusal, in silence: the run is opened anew."""
    left: list[Fault] = [fault]
    server.fault = lambda operation: left.pop() if left and operation == "file_stream" else None
    writer = open_metric_writer(run_config("online"), record, start_iteration=0)
    train(writer, 0, NUM_ROWS)
    wait_until(arrives(server, NUM_ROWS))
    writer.close(finished=True, preempted=False)

    assert left == []
    assert server.runs[RUN_ID].iterations == list(range(NUM_ROWS))
    assert server.runs[RUN_ID].state == "finished"


def test_a_run_that_was_deleted_is_told(
    server: WandbServer, record: RunRecord, writer: MetricWriter
) -> None:
    """A run that is deleted in the browser trains on; it is never made anew under another id."""
    train(writer, 0, 5)
    wait_until(lambda: RUN_ID in server.runs)
    server.delete(RUN_ID)
    train(writer, 5, NUM_ROWS)
    wait_until(lambda: "deleted in the browser" in problem_of(record))
    writer.close(finished=True, preempted=False)

    assert server.runs == {}
    assert record.folder.metrics.read_bytes().count(b"\n") == NUM_ROWS


def test_a_key_that_is_revoked_and_renewed(
    server: WandbServer, record: RunRecord, writer: MetricWriter
) -> None:
    """While the key is not accepted this is told; rows of that time arrive with the next key."""
    train(writer, 0, 5)
    wait_until(lambda: RUN_ID in server.runs)
    server.fault = lambda operation: 401
    train(writer, 5, 10)
    wait_until(lambda: "(401)" in problem_of(record))
    server.fault = lambda operation: None
    train(writer, 10, NUM_ROWS)
    wait_until(arrives(server, NUM_ROWS))

    assert record.concerns == {}


def test_a_server_that_goes_and_comes_back(
    record: RunRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows of an outage in the middle of a run arrive, before the run ends."""
    first = WandbServer()
    monkeypatch.setenv("WANDB_BASE_URL", first.url)
    writer = open_metric_writer(run_config("online"), record, start_iteration=0)
    train(writer, 0, 5)
    wait_until(lambda: RUN_ID in first.runs)
    first.close()
    train(writer, 5, 10)
    wait_until(lambda: problem_of(record) != "")
    second = WandbServer(port=first.port)
    second.runs = first.runs
    train(writer, 10, NUM_ROWS)
    try:
        wait_until(arrives(second, NUM_ROWS))
        writer.close(finished=True, preempted=False)
        assert second.runs[RUN_ID].state == "finished"
    finally:
        second.close()


def test_a_service_that_is_killed_is_started_again(
    server: WandbServer, record: RunRecord, writer: MetricWriter
) -> None:
    """When W&B's own process dies, another one gets all rows."""
    train(writer, 0, 5)
    wait_until(lambda: RUN_ID in server.runs)
    for service in services_of(os.getpid()):
        os.kill(service, signal.SIGKILL)
    train(writer, 5, NUM_ROWS)

    wait_until(arrives(server, NUM_ROWS))


def test_a_day_without_a_server_stays_out_of_memory(
    record: RunRecord, server: WandbServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """W&B's service, which keeps rows in memory until they arrive, gets no more than a bound; the
    others wait in metrics.jsonl, and arrive later."""
    monkeypatch.setattr(row_transfer, "MAX_UNCONFIRMED_ROWS", 100)
    handed_over: list[int] = []
    write = WandbWriter.write

    def counted(self: WandbWriter, iteration: int, scalars: dict[str, float]) -> None:
        handed_over.append(iteration)
        write(self, iteration, scalars)

    monkeypatch.setattr(WandbWriter, "write", counted)
    writer = open_metric_writer(run_config("online"), record, start_iteration=0)
    wait_until(lambda: RUN_ID in server.runs)
    server.fault = lambda operation: "reset"
    train(writer, 0, 20_000)
    wait_until(lambda: problem_of(record) != "")
    assert len(handed_over) <= 100
    monkeypatch.setattr(row_transfer, "MAX_UNCONFIRMED_ROWS", 10_000)
    server.fault = lambda operation: None

    wait_until(arrives(server, 20_000))
    writer.close(finished=True, preempted=False)


def test_variables_of_the_shell_do_not_reach_a_run(
    server: WandbServer, record: RunRecord, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The shell that submits may be inside a W&B run or sweep: its variables would send the rows
    elsewhere, or nowhere."""
    for name, value in {
        "WANDB_RUN_ID": "other",
        "WANDB_RESUME": "never",
        "WANDB_SERVICE": "3-1-unix-/nowhere",
        "WANDB_MODE": "disabled",
        "WANDB_DISABLED": "true",
        "WANDB_NAME": "other",
        "WANDB_PROJECT": "other",
        "WANDB_ENTITY": "other",
        "WANDB_RUN_GROUP": "other",
        "WANDB_TAGS": "other",
        "WANDB_SWEEP_ID": "other",
        "WANDB_DIR": str(tmp_path / "other"),
        "WANDB_SILENT": "false",
    }.items():
        monkeypatch.setenv(name, value)
    writer = open_metric_writer(run_config("online"), record, start_iteration=0)
    train(writer, 0, 3)
    writer.close(finished=True, preempted=False)

    (run,) = server.runs.values()
    assert (run.name, run.display_name, run.group, run.project) == (RUN_ID, "first", "all", "tests")
    assert run.iterations == [0, 1, 2]
    assert not (tmp_path / "other").exists()
    assert os.environ["WANDB_API_KEY"] == API_KEY

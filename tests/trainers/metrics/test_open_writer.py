"""What a run reports to."""

from __future__ import annotations

import logging
import subprocess
import sys

import pytest

from tests.trainers.metrics.conftest import Attempt
from tests.trainers.metrics.runs import RUN_ID, logs_of, record_of, run_config, steps_of
from trainers.metrics.open_writer import open_metric_writer
from trainers.run.run_folder import RunFolder
from trainers.run.run_state import RunState, read_state, write_state


def test_without_wandb_there_are_json_lines(folder: RunFolder, attempt: Attempt) -> None:
    """With mode `disabled` a run writes metrics.jsonl, and has no W&B folder."""
    attempt("disabled", 0, 2, finished=True)

    assert folder.metrics.read_text() == (
        '{"iteration": 0, "loss": 1.0}\n{"iteration": 1, "loss": 0.5}\n'
    )
    assert not folder.wandb.exists()


def test_without_wandb_it_is_not_imported() -> None:
    """Opening and closing the writers of a run without W&B leaves wandb alone."""
    code = (
        "import sys, tempfile; from trainers.metrics.open_writer import *; "
        "from trainers.metrics import *; from trainers.run.run_folder import RunFolder; "
        "from trainers.run.record_writer import RecordWriter; "
        "JsonLinesWriter(RunFolder(tempfile.mkdtemp()), RecordWriter(), start_iteration=0); "
        "found = {'wandb', 'torch', 'numpy'} & set(sys.modules); assert not found, found"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_folder_that_cannot_be_written_costs_a_warning(
    folder: RunFolder, attempt: Attempt, caplog: pytest.LogCaptureFixture
) -> None:
    """W&B would go to /tmp in silence; it is left out, and metrics.jsonl is written."""
    folder.wandb.write_text("in the way")

    attempt("offline", 0, 2, finished=True)

    (record,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert record.message.startswith("training continues without W&B: FileExistsError")
    assert folder.metrics.read_bytes().count(b"\n") == 2


def test_a_run_that_nobody_submitted_gets_an_id(folder: RunFolder) -> None:
    """The W&B id of a run started by hand is drawn once, and kept in its state."""
    write_state(folder, RunState())

    ids = set()
    for _ in range(2):
        writer = open_metric_writer(run_config("offline"), record_of(folder), start_iteration=0)
        writer.close(finished=False, preempted=True)
        ids.add(read_state(folder).wandb_id)

    (wandb_id,) = ids
    assert {log.name for log in logs_of(folder)} == {f"run-{wandb_id}.wandb"}


def test_rows_may_be_rare(folder: RunFolder) -> None:
    """With a row for every tenth iteration, an attempt between two rows loses and repeats none."""
    for start, stop in ((0, 35), (15, 45)):
        writer = open_metric_writer(run_config("offline"), record_of(folder), start_iteration=start)
        for iteration in range(start, stop):
            if iteration % 10 == 0:
                writer.write(iteration, {"loss": 1.0})
        writer.close(finished=False, preempted=True)

    assert [steps_of(log) for log in logs_of(folder)] == [[0, 10, 20, 30], [20, 30, 40]]
    assert RUN_ID in str(logs_of(folder)[0])

"""W&B without a server, with its real client."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.fakes.wandb_server import WandbServer
from tests.trainers.metrics.conftest import Attempt, Killed
from tests.trainers.metrics.runs import RUN_ID, logs_of, records_of, steps_of
from trainers.run.run_folder import RunFolder


def test_each_iteration_is_a_row(folder: RunFolder, attempt: Attempt) -> None:
    """The log in the run's folder has one row for every iteration, with the same scalars."""
    attempt("offline", 0, 3, finished=True)

    (log,) = logs_of(folder)
    rows = [record.history for record in records_of(log) if record.HasField("history")]
    values = [{item.nested_key[0]: item.value_json for item in row.item} for row in rows]
    assert [row.step.num for row in rows] == [0, 1, 2]
    assert [value["iteration"] for value in values] == ["0", "1", "2"]
    assert [value["loss"] for value in values] == ["1", "0.5", "0.3333333333333333"]
    assert log.parent.parent == folder.path / "wandb"


@pytest.mark.parametrize(
    ("ending", "exit_code", "is_preempting"),
    [
        ({"finished": True}, 0, False),
        ({"preempted": True}, 1, True),
        ({}, 1, False),
    ],
)
def test_the_end_is_told(
    folder: RunFolder,
    attempt: Attempt,
    ending: dict[str, bool],
    exit_code: int,
    is_preempting: bool,
) -> None:
    """A finished run exits with 0, a failed one with 1, and a preempted one says so before."""
    attempt("offline", 0, 1, **ending)

    (log,) = logs_of(folder)
    records = list(records_of(log))
    assert [r.exit.exit_code for r in records if r.HasField("exit")] == [exit_code]
    assert any(r.HasField("preempting") for r in records) == is_preempting


def test_lost_iterations_are_rewound(folder: RunFolder, attempt: Attempt) -> None:
    """An attempt from an earlier iteration takes back what the one before it has told."""
    attempt("offline", 0, 10)
    attempt("offline", 7, 12, finished=True)

    first, second = logs_of(folder)
    runs = [record.run for record in records_of(second) if record.HasField("run")]
    assert steps_of(first) == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    assert [run.branch_point.value for run in runs] == [6]
    assert steps_of(second) == [7, 8, 9, 10, 11]


def test_rows_that_a_kill_took_are_told_again(
    folder: RunFolder, attempt: Attempt, killed: Killed
) -> None:
    """What W&B had not written when the trainer was killed comes with the next attempt."""
    killed("offline", 8)
    attempt("offline", 8, 10, finished=True)

    told = [step for log in logs_of(folder) for step in steps_of(log)]
    assert told == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]


def test_an_attempt_without_rows_counts_from_where_it_rewound(
    folder: RunFolder, attempt: Attempt
) -> None:
    """An attempt that only rewound the run leaves it at the iteration that it rewound to."""
    attempt("offline", 0, 10)
    attempt("offline", 4, 4)
    attempt("offline", 4, 6, finished=True)

    assert [steps_of(log) for log in logs_of(folder)][1:] == [[], [4, 5]]


def test_synced_attempts_make_one_whole_run(
    folder: RunFolder, attempt: Attempt, server: WandbServer, tmp_path: Path
) -> None:
    """`wandb sync` of a torn, a rewound and a finished attempt gives each iteration once."""
    attempt("offline", 0, 10)
    with logs_of(folder)[0].open("ab") as torn:
        torn.write(b"half a record")
    attempt("offline", 7, 9, preempted=True)
    attempt("offline", 9, 12, finished=True)

    for log in logs_of(folder):
        subprocess.run(
            [sys.executable, "-m", "wandb", "sync", log.parent], cwd=tmp_path, check=True
        )

    (run,) = server.runs.values()
    assert run.name == RUN_ID
    assert run.iterations == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]
    assert run.state == "finished"


def test_torn_logs_are_mended(folder: RunFolder, attempt: Attempt) -> None:
    """A log is cut to its whole records, and one without any goes: `wandb sync` stops at both."""
    attempt("offline", 0, 3)
    (log,) = logs_of(folder)
    whole = log.read_bytes()
    log.write_bytes(whole + b"half a record")
    empty = folder.wandb / "offline-run-20260101_000000-abc123" / "run-abc123.wandb"
    empty.parent.mkdir()
    empty.write_bytes(whole[:7])

    attempt("offline", 3, 4, finished=True)

    assert log.read_bytes() == whole
    assert not empty.parent.exists()
    assert [steps_of(log) for log in logs_of(folder)] == [[0, 1, 2], [3]]

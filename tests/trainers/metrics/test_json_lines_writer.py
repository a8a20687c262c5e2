"""metrics.jsonl, over any number of attempts."""

from __future__ import annotations

import errno
import json
import logging
import math
import os
import resource
import time
from pathlib import Path
from threading import Thread

import pytest

from trainers.metrics import json_lines_writer
from trainers.metrics.json_lines_writer import JsonLinesWriter, read_rows
from trainers.run.record_writer import RecordWriter
from trainers.run.run_folder import RunFolder


def attempt(path: Path, start: int, stop: int) -> None:
    """Report the iterations from `start` to before `stop`."""
    writer = JsonLinesWriter(RunFolder(path.parent), RecordWriter(), start_iteration=start)
    for iteration in range(start, stop):
        writer.write(iteration, {"loss": iteration / 4})
    writer.close(finished=False, preempted=True)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "metrics.jsonl"


def test_a_row_is_a_line(path: Path) -> None:
    """A row is a JSON object with the iteration first, in the file without being asked for."""
    writer = JsonLinesWriter(RunFolder(path.parent), RecordWriter(), start_iteration=0)
    writer.write(0, {"loss": 0.5, "learning_rate": 1e-4})
    writer.write(10, {"loss": 0.25, "learning_rate": 2e-4})

    while not path.exists() or path.read_bytes().count(b"\n") < 2:
        time.sleep(0.001)
    assert path.read_text() == (
        '{"iteration": 0, "loss": 0.5, "learning_rate": 0.0001}\n'
        '{"iteration": 10, "loss": 0.25, "learning_rate": 0.0002}\n'
    )
    writer.close(finished=True, preempted=False)


def test_floats_come_back_with_the_same_bits(path: Path) -> None:
    """Writing and reading changes no float."""
    values = [0.1, 1 / 3, 5e-324, 1.7976931348623157e308, -0.0, 1e23]
    writer = JsonLinesWriter(RunFolder(path.parent), RecordWriter(), start_iteration=0)
    for iteration, value in enumerate(values):
        writer.write(iteration, {"loss": value})
    writer.close(finished=True, preempted=False)

    read = [scalars["loss"] for _, scalars in read_rows(path)]
    assert [value.hex() for value in read] == [value.hex() for value in values]


def test_what_is_no_number_is_null(path: Path) -> None:
    """NaN and infinities keep to strict JSON, and read as NaN."""
    writer = JsonLinesWriter(RunFolder(path.parent), RecordWriter(), start_iteration=0)
    writer.write(0, {"a": math.nan, "b": math.inf, "c": -math.inf, "d": 1.0})
    writer.close(finished=True, preempted=False)

    assert json.loads(path.read_text()) == {"iteration": 0, "a": None, "b": None, "c": None, "d": 1}
    ((_, scalars),) = read_rows(path)
    assert [math.isnan(value) for value in scalars.values()] == [True, True, True, False]


def test_an_attempt_removes_the_rows_that_it_repeats(path: Path) -> None:
    """After any number of restarts no iteration is there twice and none is missing."""
    attempt(path, 0, 10)
    attempt(path, 7, 9)
    attempt(path, 9, 12)
    attempt(path, 4, 14)

    assert [iteration for iteration, _ in read_rows(path)] == list(range(14))


def test_a_start_at_0_removes_everything(path: Path) -> None:
    """A run without a checkpoint has no rows either."""
    attempt(path, 0, 3)

    writer = JsonLinesWriter(RunFolder(path.parent), RecordWriter(), start_iteration=0)
    writer.sync()

    assert path.read_bytes() == b""
    assert writer.last_iteration == -1
    writer.close(finished=False, preempted=True)


@pytest.mark.parametrize(
    "tail",
    [b'{"iteration": 3, "lo', b'{"iteration": 3}\n{"it', b"\0" * 40, b"\xff\n\n{}\n", b'{"iter'],
)
def test_a_torn_end_is_dropped(path: Path, tail: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """What a kill or a power failure leaves behind the last whole row goes without a word."""
    attempt(path, 0, 3)
    whole = path.read_bytes()
    path.write_bytes(whole + tail)

    writer = JsonLinesWriter(RunFolder(path.parent), RecordWriter(), start_iteration=3)
    writer.sync()

    assert path.read_bytes() == whole
    assert writer.last_iteration == 2
    assert caplog.records == []
    writer.close(finished=False, preempted=True)


def test_a_last_row_without_a_newline_counts(path: Path) -> None:
    """A kill between a row and its end of line costs nothing."""
    attempt(path, 0, 3)
    path.write_bytes(path.read_bytes().rstrip())
    attempt(path, 3, 5)

    assert [iteration for iteration, _ in read_rows(path)] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    "garbage",
    [
        b"what is this\n",
        b"[1]\n",
        b'{"loss": 1.0}\n',
        b'{"iteration": true}\n',
        b'{"iteration": 0}\n',
    ],
)
def test_damage_in_the_middle_is_dropped_aloud(
    path: Path, garbage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """A line that is no row, or comes out of order, is dropped with a warning."""
    attempt(path, 0, 2)
    path.write_bytes(path.read_bytes() + garbage + b'{"iteration": 2, "loss": 0.5}\n')

    with caplog.at_level(logging.WARNING):
        JsonLinesWriter(RunFolder(path.parent), RecordWriter(), start_iteration=3).close(
            finished=False, preempted=True
        )

    assert [iteration for iteration, _ in read_rows(path)] == [0, 1, 2]
    assert [record.message for record in caplog.records] == [
        f"{path}: dropped lines that are not rows of metrics: 1"
    ]


def test_an_attempt_that_was_passed_over_adds_nothing(path: Path) -> None:
    """Its rows go to a file without a name, whatever it does."""
    earlier = JsonLinesWriter(RunFolder(path.parent), RecordWriter(), start_iteration=0)
    earlier.write(0, {"loss": 1.0})
    earlier.sync()
    later = JsonLinesWriter(RunFolder(path.parent), RecordWriter(), start_iteration=0)
    later.write(0, {"loss": 0.5})
    later.sync()

    earlier.write(1, {"loss": 1.0})
    earlier.sync()
    earlier.close(finished=False, preempted=True)

    assert path.read_text() == '{"iteration": 0, "loss": 0.5}\n'
    later.close(finished=False, preempted=True)


def test_rows_wait_for_a_disk_that_takes_no_more(
    path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No row is lost or torn, and none counts as durable before it is in the file."""
    monkeypatch.setattr(json_lines_writer, "SYNC_TIMEOUT_S", 1.0)
    writer = JsonLinesWriter(RunFolder(path.parent), RecordWriter(), start_iteration=0)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))  # bytes of a file
    try:
        for iteration in range(10):
            writer.write(iteration, {"loss": 0.5})
        with pytest.raises(OSError, match="File too large"):
            writer.sync()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.stat().st_size == 100

    monkeypatch.setattr(json_lines_writer, "SYNC_TIMEOUT_S", 60.0)
    writer.sync()

    assert [iteration for iteration, _ in read_rows(path)] == list(range(10))
    assert caplog.text.count(f"cannot write {path}, which nothing waits for: ") == 1
    writer.close(finished=True, preempted=False)


def test_rows_that_the_kernel_has_dropped_are_written_again(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After an fsync that failed, as over quota on NFS, the next one would succeed without them."""
    writer = JsonLinesWriter(RunFolder(path.parent), RecordWriter(), start_iteration=0)
    writer.write(0, {"loss": 0.5})
    writer.sync()
    durable, fsync = path.stat().st_size, os.fsync
    failures = iter([OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))])

    def drop(descriptor: int) -> None:
        if error := next(failures, None):
            os.truncate(path, durable)
            os.truncate(path, durable + 10)  # a hole
            raise error
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", drop)
    for iteration in range(1, 5):
        writer.write(iteration, {"loss": 0.5})
    writer.sync()

    assert path.read_bytes().count(b"\0") == 0
    assert [iteration for iteration, _ in read_rows(path)] == list(range(5))
    writer.close(finished=True, preempted=False)


def test_a_disk_that_hangs_costs_rows_and_no_time(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A FIFO that nobody writes to stands for it: rows are taken, and the end says what is lost."""
    monkeypatch.setattr(json_lines_writer, "CLOSE_TIMEOUT_S", 0.1)
    os.mkfifo(path)

    writer = JsonLinesWriter(RunFolder(path.parent), RecordWriter(), start_iteration=0)
    for iteration in range(100):
        writer.write(iteration, {"loss": 0.5})
    writer.close(finished=False, preempted=True)

    assert "lost rows that are newer than the last checkpoint: " in caplog.text


def test_memory_for_rows_has_a_bound(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Rows that it has no room for are counted, and told once the disk is back."""
    monkeypatch.setattr(json_lines_writer, "MAX_WAITING_BYTES", 100)
    path.mkdir()
    writer = JsonLinesWriter(RunFolder(path.parent), RecordWriter(), start_iteration=0)
    for iteration in range(10):
        writer.write(iteration, {"loss": 0.5})
    path.rmdir()

    writer.sync()

    assert [iteration for iteration, _ in read_rows(path)] == [0, 1, 2]
    assert f"{path} lacks rows that memory had no room for: 7" in caplog.text
    writer.close(finished=True, preempted=False)


def test_another_thread_may_make_rows_durable(path: Path) -> None:
    """While rows are being written, and none of them is torn by it."""
    writer = JsonLinesWriter(RunFolder(path.parent), RecordWriter(), start_iteration=0)

    def sync_often() -> None:
        for _ in range(20):
            writer.sync()

    thread = Thread(target=sync_often)
    thread.start()
    for iteration in range(500):
        writer.write(iteration, {"loss": 0.5})
    thread.join()
    writer.close(finished=True, preempted=False)

    assert [iteration for iteration, _ in read_rows(path)] == list(range(500))

"""Bookkeeping: in order, again and again, and never in anybody's way."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from trainers.errors import LeaseLostError, UnavailableError
from trainers.run import record_writer
from trainers.run.record_writer import RecordWriter
from trainers.run.sections import SECTIONS, Section

LONG_S = 60.0
"""Only a fault of the code takes as long."""
HOUR_S = 3600.0
EVENTS = Path("run/events.jsonl")
STATE = Path("run/state.json")


class Disk:
    """Remembers what was written, and refuses while it is told to."""

    def __init__(self) -> None:
        self.written: list[str] = []
        self.error: Exception | None = None
        self.hangs = threading.Event()
        self.is_reached = threading.Event()

    def write(self, text: str) -> Callable[[], None]:
        def write() -> None:
            self.is_reached.set()
            if self.error:
                raise self.error
            self.written.append(text)

        return write

    def hang(self) -> None:
        self.is_reached.set()
        self.hangs.wait(LONG_S)


@pytest.fixture
def disk() -> Disk:
    return Disk()


@pytest.fixture
def writer(monkeypatch: pytest.MonkeyPatch, disk: Disk) -> Iterator[RecordWriter]:
    monkeypatch.setattr(record_writer, "MAX_DELAY_S", 0.01)
    yield RecordWriter()
    disk.hangs.set()


def os_error(number: int) -> OSError:
    return OSError(number, os.strerror(number))


def test_writes_of_a_file_keep_their_order(writer: RecordWriter, disk: Disk) -> None:
    """And are all there once they are flushed."""
    for number in range(100):
        writer.put(EVENTS, disk.write(str(number)))

    writer.flush(LONG_S)

    assert disk.written == [str(number) for number in range(100)]


def test_a_write_that_may_wait_holds_up_no_other(writer: RecordWriter, disk: Disk) -> None:
    """It waits to be flushed, for an hour; writes of its own file follow it."""
    writer.put(EVENTS, disk.write("late"), delay_s=HOUR_S)
    writer.put(EVENTS, disk.write("later"))
    writer.put(STATE, disk.write("at once"))
    writer.flush(LONG_S, STATE)
    assert disk.written == ["at once"]

    writer.flush(LONG_S)

    assert disk.written == ["at once", "late", "later"]


@pytest.mark.parametrize(
    "error", [os_error(errno.EIO), os_error(errno.EACCES), UnavailableError("no lease")]
)
def test_a_write_is_tried_until_it_succeeds(
    writer: RecordWriter, disk: Disk, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing overtakes it, and the log has one line at each end of the outage."""
    disk.error = error
    for number in range(3):
        writer.put(EVENTS, disk.write(str(number)))
    assert disk.is_reached.wait(LONG_S)
    with pytest.raises(OSError, match=r"events\.jsonl"):
        writer.flush(0.1)
    disk.error = None

    writer.flush(LONG_S)

    assert disk.written == ["0", "1", "2"]
    first, last = [record.getMessage() for record in caplog.records]
    assert first.startswith(f"cannot write {EVENTS}, which nothing waits for: ")
    assert last.startswith(f"{EVENTS} can be written again, after ")
    assert last.endswith("lost meanwhile: 0")


def test_of_a_state_only_the_newest_is_written(writer: RecordWriter, disk: Disk) -> None:
    """An outage leaves one write of it, however many were put; and it is the last one."""
    disk.error = os_error(errno.ENOSPC)
    for number in range(100):
        writer.put(STATE, disk.write(str(number)), replaces=True)
    disk.is_reached.wait(LONG_S)
    disk.error = None

    writer.flush(LONG_S)

    assert disk.written == ["99"]


def test_a_file_that_fails_holds_up_no_other(writer: RecordWriter, disk: Disk) -> None:
    """A folder where the events should be costs no state."""
    broken = Disk()
    broken.error = os_error(errno.EISDIR)
    writer.put(EVENTS, broken.write("event"))
    writer.put(STATE, disk.write("state"), replaces=True)

    writer.flush(LONG_S, STATE)

    assert disk.written == ["state"]


def test_a_file_system_that_hangs_holds_up_nobody(
    writer: RecordWriter,
    disk: Disk,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is put returns, the end is waited for in vain for no longer than allowed; one line."""
    monkeypatch.setattr(record_writer, "HANGS_AFTER_S", 0.0)
    writer.put(EVENTS, disk.hang)
    assert disk.is_reached.wait(LONG_S)
    for _ in range(3):
        writer.put(EVENTS, disk.write("event"))

    with pytest.raises(TimeoutError, match=r"events\.jsonl"):
        writer.flush(0.01)
    writer.close(0.01)

    told = [record.getMessage() for record in caplog.records]
    assert told == [
        f"writing {EVENTS} has taken more than 0 s; nothing else waits for it",
        f"cannot write {EVENTS}: Connection timed out; lost: 4",
    ]


def test_waiting_for_it_is_no_hang(writer: RecordWriter, disk: Disk) -> None:
    """It has a bound of its own, which may be that of the watchdog."""
    writer.put(EVENTS, disk.hang)
    with SECTIONS.section(Section.SAVE):
        SECTIONS.tick(50.0)

        with pytest.raises(TimeoutError):
            writer.flush(0.1)

        assert SECTIONS.silent_s(threading.get_ident()) == 0.0


def test_memory_has_a_bound(
    writer: RecordWriter,
    disk: Disk,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What an outage of days leaves no room for is lost, counted and told."""
    monkeypatch.setattr(record_writer, "MAX_WAITING", 5)
    writer.put(EVENTS, disk.hang)
    assert disk.is_reached.wait(LONG_S)
    monkeypatch.setattr(record_writer, "HANGS_AFTER_S", 0.0)
    for number in range(8):
        writer.put(EVENTS, disk.write(str(number)))
    disk.hangs.set()

    writer.flush(LONG_S)

    assert disk.written == ["0", "1", "2", "3", "4"]
    assert caplog.records[-1].getMessage().endswith("lost meanwhile: 3")


def test_a_bug_costs_its_own_write_only(
    writer: RecordWriter, disk: Disk, caplog: pytest.LogCaptureFixture
) -> None:
    """It would fail for ever, so it is told and left out."""
    writer.put(EVENTS, lambda: disk.written.append(1 / 0))  # type: ignore[arg-type]
    writer.put(EVENTS, disk.write("next"))

    writer.flush(LONG_S)

    assert disk.written == ["next"]
    assert "ZeroDivisionError" in caplog.text


def test_who_has_lost_the_folder_writes_nothing_more(writer: RecordWriter, disk: Disk) -> None:
    """Neither what was waiting nor what comes later."""

    def lose() -> None:
        disk.hang()
        raise LeaseLostError("somebody has taken over")

    writer.put(STATE, lose)
    assert disk.is_reached.wait(LONG_S)
    writer.put(EVENTS, disk.write("waiting"))
    disk.hangs.set()
    writer.flush(LONG_S)
    writer.put(EVENTS, disk.write("later"))
    writer.flush(LONG_S)

    assert disk.written == []

"""Rows that are passed on, and what is known of their arrival."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from pathlib import Path

import pytest

from trainers.metrics import row_feed, row_transfer
from trainers.metrics.row_feed import RowFeed
from trainers.metrics.row_transfer import (
    LOST_AFTER_S,
    LostRowsError,
    Reporter,
    Transfer,
    Unconfirmed,
)
from trainers.metrics.turns import Turns
from trainers.run.metric_rows import RowReader, last_iteration_of


class Service:
    """Remembers what it is told; forgets rows of `lost` on their way."""

    is_remote = True

    def __init__(self, *, last_step: int = -1, lost: frozenset[int] = frozenset()) -> None:
        self.last_step = last_step
        self.rows: list[int] = []
        self.calls: list[object] = []
        self.blocked = threading.Event()
        self.blocked.set()
        self._lost = lost

    def write(self, iteration: int, scalars: Mapping[str, float]) -> None:
        self.blocked.wait()
        if iteration not in self._lost:
            self.rows.append(iteration)

    def poll(self) -> None:
        """There is nothing besides rows."""

    def confirmed(self, *, timeout_s: float = 1.0) -> int:
        return self.rows[-1] if self.rows else self.last_step

    def close(self, *, finished: bool, preempted: bool) -> None:
        self.calls.append((finished, preempted))

    def abandon(self) -> None:
        self.calls.append("abandon")


class Told(Reporter):
    def __init__(self) -> None:
        self.calls: list[object] = []

    def confirmed(self, iteration: int) -> None:
        self.calls.append(iteration)

    def has_problem(self, error: BaseException) -> None:
        self.calls.append(str(error))

    def closed(self, *, finished: bool, preempted: bool) -> None:
        self.calls.append("closed")

    def ended(self) -> None:
        self.calls.append("ended")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "metrics.jsonl"
    write(path, range(20))
    return path


def write(path: Path, iterations: range) -> None:
    with path.open("a") as file:
        file.writelines(f'{{"iteration": {each}, "loss": null}}\n' for each in iterations)


def closing() -> threading.Event:
    event = threading.Event()
    event.set()
    return event


def test_the_rows_that_a_service_lacks_are_passed_on(path: Path) -> None:
    """From the one after its last step on; a torn line at the end is none."""
    with path.open("a") as file:
        file.write('{"iteration": 20')
    service, told = Service(last_step=11), Told()
    with RowReader(path, after=11) as rows:
        transfer = Transfer(service, rows, told, closing())
        assert transfer.pass_on()
        transfer.finish(finished=True, preempted=False)

    assert service.rows == list(range(12, 20))
    assert service.calls == [(True, False)]
    assert told.calls == [11, 19, "closed"]


def test_rows_that_do_not_arrive_are_an_error(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service that closes without an error may have lost rows all the same."""
    monkeypatch.setattr(row_transfer, "POLL_S", 0.01)
    service, told = Service(lost=frozenset({18, 19})), Told()
    with RowReader(path, after=-1) as rows:
        transfer = Transfer(service, rows, told, closing())
        transfer.pass_on()
        with pytest.raises(LostRowsError, match=r"up to iteration 19 .* after 17"):
            transfer.finish(finished=True, preempted=False)

    assert "closed" not in told.calls


def test_lost_rows_are_those_without_progress() -> None:
    """Rows that were sent a moment ago are on their way; an outage counts for nothing."""
    rows = Unconfirmed(-1)
    assert not rows.are_lost(1e9)
    rows.sent(10, 9, now=0.0)
    rows.sent(5, 14, now=100.0)
    assert not rows.are_lost(LOST_AFTER_S - 1)
    rows.arrived(9, now=LOST_AFTER_S)
    assert rows.count == 5
    assert not rows.are_lost(2 * LOST_AFTER_S - 1)
    rows.wait_on(now=1000.0)
    assert not rows.are_lost(1000.0 + LOST_AFTER_S - 1)
    assert rows.are_lost(1000.0 + LOST_AFTER_S)
    rows.arrived(14, now=1001.0)
    assert not rows.are_lost(1e9)


def test_a_feed_opens_anew_until_all_rows_have_arrived(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each failure is told; the next service gets the rows that the one before lacked."""
    monkeypatch.setattr(row_feed, "FIRST_DELAY_S", 0.01)
    good, told, is_done = Service(last_step=4), Told(), threading.Event()
    opened = []

    def open_service(was_open: bool) -> Service:
        opened.append(was_open)
        if len(opened) < 3:
            raise ConnectionError(f"failure {len(opened)}")
        is_done.set()
        return good

    feed = RowFeed(
        path,
        open_service,
        name="it",
        kill=lambda: None,
        reporter=told,
        turns=Turns(None),
    )
    is_done.wait()
    write(path, range(20, 30))
    feed.close(finished=True, preempted=False)

    assert opened == [False, False, False]
    assert good.rows == list(range(5, 30))
    assert good.calls == [(True, False), "abandon"]
    assert told.calls == ["failure 1", "failure 2", 4, 29, "closed", "ended"]


def test_a_service_that_hangs_is_killed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Closing waits for so long and no longer."""
    monkeypatch.setattr(row_feed, "CLOSE_TIMEOUT_S", 0.1)
    service, told = Service(), Told()
    service.blocked.clear()
    feed = RowFeed(
        path,
        lambda _: service,
        name="it",
        kill=service.blocked.set,
        reporter=told,
        turns=Turns(None),
    )
    feed.write(20, {})
    feed.close(finished=True, preempted=False)

    assert service.blocked.is_set()
    assert "it did not close within 0 s" in told.calls


def test_reading_starts_anywhere_in_a_long_file(tmp_path: Path) -> None:
    """The row after an iteration is found without reading what is before it, and none is left out,
    wherever the iteration lies, and whether it has a row or not."""
    path = tmp_path / "metrics.jsonl"
    path.write_text(
        "".join(
            json.dumps({"iteration": 3 * each, "text": "x" * (each % 97)}) + "\n"
            for each in range(20_000)
        )
    )
    assert last_iteration_of(path) == 59_997
    for after in (-1, 0, 1, 2, 29_999, 30_000, 44_444, 59_996, 59_997, 70_000):
        with RowReader(path, after=after) as rows:
            found = [iteration for iteration, _ in rows.read(100_000)]
        assert found == [each for each in range(0, 60_000, 3) if each > after]


def test_rows_are_read_once_they_are_whole(path: Path) -> None:
    """Damaged lines and repeated rows are passed over; a torn line waits for its end."""
    with path.open("a") as file:
        file.write('what\n{"iteration": 5}\n{"iteration": 20, "loss": 0.5')
        file.flush()
        with RowReader(path, after=17) as rows:
            assert [iteration for iteration, _ in rows.read(10)] == [18, 19]
            assert rows.read(10) == []
            file.write("}\n")
            file.flush()
            assert rows.read(10) == [(20, {"loss": 0.5})]

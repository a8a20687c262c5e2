"""Turns of runs at W&B."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from trainers.metrics import turns
from trainers.metrics.turns import Turns


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the turns of twelve runs are."""
    for number in range(12):
        (tmp_path / f"run-{number}").mkdir()
    return tmp_path / ".turns"


def test_runs_take_turns(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Never more runs than allowed are open, and each one has its turns until it is done."""
    monkeypatch.setattr(turns, "MAX_OPEN", 3)
    monkeypatch.setattr(turns, "TURN_S", 0.05)
    monkeypatch.setattr(turns, "_POLL_S", 0.1)
    lock, is_open, most, done = threading.Lock(), set[int](), [], []

    def run(number: int) -> None:
        mine, closing = Turns(folder), threading.Event()
        for _ in range(2):
            with mine.turn(closing) as may_feed:
                assert may_feed
                with lock:
                    is_open.add(number)
                    most.append(len(is_open))
                while not mine.is_over() and len(done) < 9:
                    time.sleep(0.01)
                with lock:
                    is_open.remove(number)
        done.append(number)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(done) == list(range(12))
    assert max(most) <= 3
    assert list(folder.glob("turn-*")) == []


def test_a_turn_whose_holder_was_killed_is_free(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that nobody renews counts for so long and no longer."""
    monkeypatch.setattr(turns, "MAX_OPEN", 1)
    monkeypatch.setattr(turns, "_POLL_S", 0.01)
    folder.mkdir()
    killed = folder / "turn-killed"
    killed.touch()
    closing = threading.Event()
    closing.set()
    with Turns(folder).turn(closing) as may_feed:
        assert not may_feed

    old = time.time() - 1000
    os.utime(killed, (old, old))
    with Turns(folder).turn(closing) as may_feed:
        assert may_feed
        assert not killed.exists()


def test_few_runs_need_no_turns(folder: Path) -> None:
    """Where all may go at once nothing is written, and a turn is never over."""
    mine = Turns(folder)
    with mine.turn(threading.Event()) as may_feed:
        assert may_feed
        assert not mine.is_over()
    assert not folder.exists()
    assert Turns(None).first_delay_s() == 0


def test_many_runs_do_not_begin_at_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first turns are spread over as long as it takes to start them one after the other."""
    monkeypatch.setattr(turns, "STARTS_PER_S", 2.0)
    delays = [Turns(folder).first_delay_s() for _ in range(50)]

    assert all(0 <= delay <= 6 for delay in delays)
    assert max(delays) - min(delays) > 1

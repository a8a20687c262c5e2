"""A writer that must not hold up training."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Mapping

import pytest

from trainers.metrics import background_writer
from trainers.metrics.background_writer import BackgroundWriter
from trainers.metrics.metric_writer import MetricWriter


class Slow(MetricWriter):
    """Waits in every call until it may go on; remembers the calls."""

    def __init__(self, *, fails_at: int | None = None) -> None:
        self.may_go_on = threading.Event()
        self.told: list[object] = []
        self._fails_at = fails_at

    def write(self, iteration: int, scalars: Mapping[str, float]) -> None:
        self.may_go_on.wait()
        if iteration == self._fails_at:
            raise ConnectionError("gone")
        self.told.append((iteration, dict(scalars)))

    def sync(self) -> None:
        raise AssertionError("would make training wait")

    def close(self, *, finished: bool, preempted: bool) -> None:
        self.told.append(("close", finished, preempted))


def behind(slow: Slow, backlog: Iterable[tuple[int, Mapping[str, float]]] = ()) -> BackgroundWriter:
    return BackgroundWriter(lambda: (slow, backlog), name="slow", kill=slow.may_go_on.set)


def test_everything_is_passed_on_in_order() -> None:
    """The backlog comes first, then the rows as they were when written, then the end."""
    slow = Slow()
    writer = behind(slow, [(0, {"loss": 1.0})])
    scalars = {"loss": 0.5}
    writer.write(1, scalars)
    writer.sync()
    scalars["loss"] = 7.0
    slow.may_go_on.set()
    writer.close(finished=True, preempted=False)

    assert slow.told == [(0, {"loss": 1.0}), (1, {"loss": 0.5}), ("close", True, False)]


def test_a_writer_that_raises_is_given_up(caplog: pytest.LogCaptureFixture) -> None:
    """After an error the writer gets no more rows, and is closed as failed; one warning says so."""
    slow = Slow(fails_at=1)
    slow.may_go_on.set()
    writer = behind(slow)
    for iteration in range(5):
        writer.write(iteration, {})
    writer.close(finished=True, preempted=False)

    assert slow.told == [(0, {}), ("close", False, False)]
    assert _warnings(caplog) == ["training continues without slow: ConnectionError('gone')"]


def test_a_writer_that_falls_behind_is_given_up(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows do not pile up without bound: a gap would not be seen, so that all later ones go too."""
    monkeypatch.setattr(background_writer, "MAX_WAITING_ROWS", 3)
    slow = Slow()
    writer = behind(slow)
    for iteration in range(10):
        writer.write(iteration, {})
    slow.may_go_on.set()
    writer.close(finished=True, preempted=False)

    assert slow.told in (
        [(0, {}), (1, {}), (2, {}), ("close", False, False)],
        [(0, {}), (1, {}), (2, {}), (3, {}), ("close", False, False)],
    )
    assert _warnings(caplog) == ["training continues without slow: it is 3 rows behind"]


def test_a_writer_that_hangs_is_killed(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Closing waits for so long and no longer."""
    monkeypatch.setattr(background_writer, "CLOSE_TIMEOUT_S", 0.1)
    slow = Slow()
    writer = behind(slow)
    writer.write(0, {})
    writer.close(finished=True, preempted=False)

    assert slow.may_go_on.is_set()
    assert _warnings(caplog) == ["training continues without slow: it did not close within 0 s"]


def _warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.message for record in caplog.records if record.levelno >= logging.WARNING]

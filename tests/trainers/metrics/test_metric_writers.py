"""Writers that pass rows on."""

import json
import math
from collections.abc import Mapping

import pytest

from trainers.metrics.metric_writer import IntervalWriter, MultiWriter, NullWriter


class Rows(NullWriter):
    def __init__(self) -> None:
        self.rows: dict[int, dict[str, float]] = {}
        self.calls: list[str] = []

    def write(self, iteration: int, scalars: Mapping[str, float]) -> None:
        self.rows[iteration] = dict(scalars)

    def sync(self) -> None:
        self.calls.append("sync")

    def close(self, *, finished: bool, preempted: bool) -> None:
        self.calls.append(f"close {finished} {preempted}")


def loss_of(iteration: int) -> float:
    return math.sin(iteration) / 3


def test_a_row_has_the_means_of_its_interval() -> None:
    """A row comes every so often, with the means of what is finite since the row before; iterations
    count from 0, and of a whole number the last one is meant."""
    rows = Rows()
    writer = IntervalWriter(MultiWriter([rows]), every=4)

    for iteration in range(9):
        loss = math.nan if iteration == 2 else float(iteration)
        writer.write(iteration, {"loss": loss, "skipped_steps": iteration // 2})
    writer.sync()
    writer.close(finished=False, preempted=True)

    assert rows.rows == {
        0: {"loss": 0.0, "skipped_steps": 0},
        4: {"loss": (1 + 3 + 4) / 3, "skipped_steps": 2},
        8: {"loss": (5 + 6 + 7 + 8) / 4, "skipped_steps": 4},
    }
    assert rows.calls == ["sync", "close False True"]


def test_an_interval_without_a_finite_value_is_nan() -> None:
    """A loss that was never finite is not made up."""
    rows = Rows()
    writer = IntervalWriter(rows, every=2)
    for iteration in range(3):
        writer.write(iteration, {"loss": 1.0 if iteration == 0 else math.inf})

    assert math.isnan(rows.rows[2]["loss"])


@pytest.mark.parametrize("resumed_at", range(1, 12))
def test_a_resumed_run_has_the_same_rows(resumed_at: int) -> None:
    """Wherever a checkpoint cuts an interval, its row has the same bits as without the stop."""
    whole, resumed = Rows(), Rows()
    writer = IntervalWriter(whole, every=5)
    state: dict[str, object] = {}
    for iteration in range(12):
        writer.write(iteration, {"loss": loss_of(iteration)})
        if iteration + 1 == resumed_at:
            state = json.loads(json.dumps(writer.state_dict()))
    writer = IntervalWriter(resumed, every=5, state=state)
    for iteration in range(resumed_at, 12):
        writer.write(iteration, {"loss": loss_of(iteration)})

    assert resumed.rows == {i: row for i, row in whole.rows.items() if i >= resumed_at}

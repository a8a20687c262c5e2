"""What is read of metrics, and what is computed from them."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from launcher.report.metric_curves import Best, Curve, MetricCurves, read_curves


def write(path: Path, *rows: Any, end: str = "") -> Path:
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    path.write_text("".join(f"{line}\n" for line in lines) + end)
    return path


def losses(values: list[float], path: Path) -> Curve:
    rows = [{"iteration": n, "loss": value} for n, value in enumerate(values)]
    return read_curves(write(path, *rows)).by_name["loss"]


def test_a_torn_row_counts_for_nothing(tmp_path: Path) -> None:
    """Half a line at the end is no reason to warn; damaged lines before it are counted."""
    good = {"iteration": 1, "loss": 2.0}
    path = write(
        tmp_path / "metrics.jsonl",
        {"iteration": 0, "loss": 4.0},
        '{"iteration": 1, "lo',
        "\0\0\0",
        "[1]",
        '{"iteration": "1", "loss": 9}',
        good,
        good,
        end='{"iteration": 2, "loss": 0.0',
    )

    curves = read_curves(path)

    loss = curves.by_name["loss"]
    assert (list(loss.iterations), list(loss.values)) == ([0, 1], [4.0, 2.0])
    assert curves.num_damaged == 5


def test_a_run_without_metrics(tmp_path: Path) -> None:
    """It has none, and that is no error."""
    assert read_curves(tmp_path / "metrics.jsonl") == MetricCurves()


def test_values_that_are_no_numbers_are_left_out(tmp_path: Path) -> None:
    """null is NaN; text, true, lists and numbers beyond all floats are never taken for one."""
    row = '{"iteration": 0, "a": null, "b": "1", "c": true, "d": [1], "e": 1e999, "f": 1'
    path = write(tmp_path / "metrics.jsonl", row + "0" * 400 + "}")

    curves = read_curves(path).by_name

    assert set(curves) == {"a", "e", "f"}
    assert all(math.isnan(curve.values[0]) for curve in curves.values())


def test_the_last_tenth(tmp_path: Path) -> None:
    """Of 30 rows these are the last 3; what is not finite has no part in the mean."""
    curve = losses([9.0] * 27 + [1.0, math.nan, 3.0], tmp_path / "metrics.jsonl")

    assert curve.tail_mean() == 2.0
    assert Curve().tail_mean() is None
    assert math.isnan(losses([1.0, math.nan], tmp_path / "m").tail_mean())


def test_the_best_is_no_lucky_batch(tmp_path: Path) -> None:
    """One low loss among 100 weighs a tenth; the best is the mean of the ten from 50 on."""
    values = [5.0] * 20 + [0.5] + [5.0] * 29 + [2.0] * 10 + [4.0] * 40

    curve = losses(values, tmp_path / "metrics.jsonl")

    assert curve.best("min") == Best(2.0, 59)
    assert curve.best("max") == Best(5.0, 49)


def test_a_metric_that_is_measured_now_and_then_is_taken_as_it_is(tmp_path: Path) -> None:
    """Each of its values is a mean over much already."""
    rows: list[dict] = [{"iteration": n, "loss": 1.0} for n in range(100)]
    for n in range(0, 100, 2):
        rows[n]["voi"] = 2.0
    rows[40]["voi"] = 0.5
    sparse = [
        row if n % 4 == 0 else {k: row[k] for k in ("iteration", "loss")}
        for n, row in enumerate(rows)
    ]

    curves = read_curves(write(tmp_path / "metrics.jsonl", *sparse)).by_name

    assert curves["voi"].best("min") == Best(0.5, 40)


def test_a_huge_value_leaves_no_trace_in_later_means(tmp_path: Path) -> None:
    """A diverged loss that came back does not spoil the best by rounding."""
    curve = losses([1e300] * 50 + [0.25] * 50, tmp_path / "metrics.jsonl")

    assert curve.best("min").value == 0.25


@pytest.mark.parametrize("num_rows", [1, 7, 300, 301, 10_000])
def test_a_thinned_curve_keeps_its_means(num_rows: int, tmp_path: Path) -> None:
    """It has few points, each the mean of its rows; a stretch without a finite value is a gap."""
    values = [float(n) for n in range(num_rows)]

    points = losses(values, tmp_path / "metrics.jsonl").binned(300)

    assert len(points) <= 300
    assert all(iteration == value for iteration, value in points)
    assert math.isnan(losses([math.nan] * 9, tmp_path / "m").binned(3)[1][1])

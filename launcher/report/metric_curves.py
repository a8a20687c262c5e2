"""The metrics of a run over its iterations, and what they come to."""

from __future__ import annotations

import math
from array import array
from pathlib import Path

import attrs
from attrs import field, frozen

from trainers.checkpoints.retention import BestMode
from trainers.run.metric_rows import read_rows

_MAX_ITERATION = 2**53


@frozen
class Best:
    """The best value of a metric, and the iteration that it belongs to."""

    value: float
    iteration: int


@frozen
class Curve:
    """One metric of a run; NaN stands for what was not finite."""

    iterations: array[int] = field(factory=lambda: array("q"))
    values: array[float] = field(factory=lambda: array("d"))
    is_sparse: bool = False
    """Whether most rows of the run lack it: it is measured now and then, as validation is."""

    def tail_mean(self) -> float | None:
        """Return the mean over the last tenth of its rows; NaN if none of these is finite."""
        return _mean(self.values[-self._tenth :]) if self.values else None

    def best(self, mode: BestMode) -> Best | None:
        """Return the best mean over a tenth of the rows, and the last iteration of that tenth.

        A mean, because the lowest of many single losses only tells of an easy batch. A sparse
        metric is taken as it is.
        """
        window = 1 if self.is_sparse else self._tenth
        step = max(1, window // 10)
        ends = range(len(self.values), window - 1, -step)  # the last tenth is one of them
        means = [
            Best(mean, self.iterations[end - 1])
            for end in ends
            if math.isfinite(mean := _mean(self.values[end - window : end]))
        ]
        return (max if mode == "max" else min)(means, key=lambda each: each.value, default=None)

    def binned(self, num_bins: int) -> list[tuple[float, float]]:
        """Return at most so many points: mean iteration and mean value of rows in a row.

        Rows that are not finite leave a gap, as NaN.
        """
        size = max(1, math.ceil(len(self.values) / num_bins))
        points = []
        for start in range(0, len(self.values), size):
            part = self.iterations[start : start + size]
            points.append((sum(part) / len(part), _mean(self.values[start : start + size])))
        return points

    @property
    def _tenth(self) -> int:
        return max(1, len(self.values) // 10)


@frozen
class MetricCurves:
    """All metrics of a run."""

    by_name: dict[str, Curve] = field(factory=dict)
    num_damaged: int = 0
    """Lines of the file that are not rows, or come twice; they count for nothing."""


def read_curves(path: Path) -> MetricCurves:
    """Read a `metrics.jsonl`; it may be growing, or be missing.

    Raises:
        OSError: It cannot be read.
    """
    curves: dict[str, Curve] = {}
    num_rows, last = 0, -1
    try:
        with path.open("rb") as file:  # half a line at the end is being written, or was torn
            num_lines = sum(line.endswith(b"\n") for line in file)
    except FileNotFoundError:
        return MetricCurves()
    for iteration, row in read_rows(path):
        if not last < iteration < _MAX_ITERATION:
            continue
        last = iteration
        num_rows += 1
        for name, value in row.items():
            if isinstance(value, int | float) and not isinstance(value, bool):
                if (curve := curves.get(name)) is None:
                    curve = curves[name] = Curve()
                curve.iterations.append(iteration)
                curve.values.append(_finite_or_nan(value))
    by_name = {
        name: attrs.evolve(curve, is_sparse=2 * len(curve.values) < num_rows)
        for name, curve in curves.items()
    }
    return MetricCurves(by_name, max(0, num_lines - num_rows))


def _finite_or_nan(value: float) -> float:
    try:
        return float(value) if math.isfinite(value) else math.nan
    except OverflowError:  # an integer beyond all floats
        return math.nan


def _mean(values: array[float]) -> float:
    finite = [value for value in values if math.isfinite(value)]
    return math.fsum(finite) / len(finite) if finite else math.nan

"""The interface of metric writers, and those that combine others."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any


class MetricWriter(ABC):
    """Records the scalars of one attempt."""

    @abstractmethod
    def write(self, iteration: int, scalars: Mapping[str, float]) -> None:
        """Record the scalars of one iteration; called in increasing order of iterations."""

    @abstractmethod
    def sync(self) -> None:
        """Make the rows so far survive a power failure, where the writer promises that.

        May be called on another thread than `write`.

        Raises:
            OSError: The rows cannot be made durable.
        """

    @abstractmethod
    def close(self, *, finished: bool, preempted: bool) -> None:
        """End the attempt: the run is finished, or was preempted, or has failed if neither."""

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint has to carry of rows that are not written yet; plain data."""
        return {}


class NullWriter(MetricWriter):
    """Discards everything."""

    def write(self, iteration: int, scalars: Mapping[str, float]) -> None:
        pass

    def sync(self) -> None:
        pass

    def close(self, *, finished: bool, preempted: bool) -> None:
        pass


class IntervalWriter(MetricWriter):
    """Passes on the means over the iterations since the row before, at 0, `every`, 2 · `every`, …

    A checkpoint in the middle of an interval carries `state_dict`, so that a resumed run has the
    very rows of one that was never stopped. Only finite values count; of whole numbers, which are
    counts so far, the last one.

    Args:
        state: Of the checkpoint that the attempt resumes from.
    """

    def __init__(
        self, writer: MetricWriter, *, every: int, state: Mapping[str, Any] | None = None
    ) -> None:
        self._writer = writer
        self._every = every
        self._sums: dict[str, tuple[float, int]] = {}
        self._last: dict[str, int] = {}
        if state:
            self._sums = {name: (float(total), n) for name, (total, n) in state["sums"].items()}
            self._last = dict(state["last"])

    def write(self, iteration: int, scalars: Mapping[str, float]) -> None:
        for name, value in scalars.items():
            if isinstance(value, int):
                self._last[name] = value
                continue
            total, number = self._sums.get(name, (0.0, 0))
            is_finite = math.isfinite(value)
            self._sums[name] = (total + float(value) if is_finite else total, number + is_finite)
        if iteration % self._every == 0:
            means = {name: total / n if n else math.nan for name, (total, n) in self._sums.items()}
            self._writer.write(iteration, {**means, **self._last})
            self._sums, self._last = {}, {}

    def sync(self) -> None:
        self._writer.sync()

    def close(self, *, finished: bool, preempted: bool) -> None:
        self._writer.close(finished=finished, preempted=preempted)

    def state_dict(self) -> dict[str, Any]:
        if not (self._sums or self._last):
            return {}
        return {
            # Text: it reads back with the same bits, from whatever format.
            "sums": {name: [repr(total), n] for name, (total, n) in self._sums.items()},
            "last": self._last,
        }


class MultiWriter(MetricWriter):
    """Passes everything on to several writers, in order."""

    def __init__(self, writers: Sequence[MetricWriter]) -> None:
        self._writers = tuple(writers)

    def write(self, iteration: int, scalars: Mapping[str, float]) -> None:
        for writer in self._writers:
            writer.write(iteration, scalars)

    def sync(self) -> None:
        for writer in self._writers:
            writer.sync()

    def close(self, *, finished: bool, preempted: bool) -> None:
        for writer in self._writers:
            writer.close(finished=finished, preempted=preempted)

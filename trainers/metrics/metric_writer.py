"""The interface of metric writers, and those that combine others."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence


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


class NullWriter(MetricWriter):
    """Discards everything."""

    def write(self, iteration: int, scalars: Mapping[str, float]) -> None:
        pass

    def sync(self) -> None:
        pass

    def close(self, *, finished: bool, preempted: bool) -> None:
        pass


class ThinningWriter(MetricWriter):
    """Passes on the rows of iterations 0, `every`, 2 · `every`, …"""

    def __init__(self, writer: MetricWriter, *, every: int) -> None:
        self._writer = writer
        self._every = every

    def write(self, iteration: int, scalars: Mapping[str, float]) -> None:
        if iteration % self._every == 0:
            self._writer.write(iteration, scalars)

    def sync(self) -> None:
        self._writer.sync()

    def close(self, *, finished: bool, preempted: bool) -> None:
        self._writer.close(finished=finished, preempted=preempted)


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

"""What is said about the time that nodes take."""

from __future__ import annotations

import gunpowder as gp
import pytest

from trainers.profile import NodeTimes


class _Clock:
    def __init__(self) -> None:
        self.seconds = 0.0

    def perf_counter(self) -> float:
        return self.seconds


class _Filter(gp.BatchFilter):
    def __init__(self, clock: _Clock) -> None:
        self.clock = clock

    def process(self, batch: gp.Batch, request: gp.BatchRequest) -> None:
        self.clock.seconds += 5


class _Source(gp.BatchProvider):
    def __init__(self, clock: _Clock) -> None:
        self.clock = clock

    def setup(self) -> None:
        pass

    def provide(self, request: gp.BatchRequest) -> gp.Batch:
        self.clock.seconds += 2
        return gp.Batch()


def test_each_node_is_charged_with_its_own_time_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not with that of the nodes upstream of it; and not after the measurement."""
    clock = _Clock()
    monkeypatch.setattr("trainers.profile.time", clock)
    times = NodeTimes()
    pipeline = _Source(clock) + _Filter(clock)
    with gp.build(pipeline):
        with times.measuring():
            for _ in range(3):
                pipeline.request_batch(gp.BatchRequest())
        pipeline.request_batch(gp.BatchRequest())

    assert times.seconds == {"_Filter": 15, "_Source": 6}

"""How well the making of samples keeps up with the training."""

from __future__ import annotations

from attrs import define


@define
class QueueFigures:
    """Counted over the samples that were asked for since the last look."""

    num_asked: int = 0
    num_hits: int = 0
    """Those that were ready when they were asked for."""
    num_ready: int = 0
    """Samples that were ready then, added up: the depth of the queue."""
    wait_s: float = 0.0

    def add(self, was_ready: bool, num_ready: int, wait_s: float) -> None:
        self.num_asked += 1
        self.num_hits += was_ready
        self.num_ready += num_ready
        self.wait_s += wait_s

    @property
    def mean_depth(self) -> float:
        return self.num_ready / max(self.num_asked, 1)

    @property
    def hit_rate(self) -> float:
        return self.num_hits / max(self.num_asked, 1)

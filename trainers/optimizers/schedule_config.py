"""What every schedule config promises."""

from __future__ import annotations

from abc import ABC, abstractmethod

from attrs import frozen


@frozen(kw_only=True)
class ScheduleConfig(ABC):
    """How the learning rate changes. It has no state: the iteration is all that it needs."""

    @abstractmethod
    def factor(self, iteration: int) -> float:
        """What the learning rate is multiplied by in an iteration, counted from 0."""

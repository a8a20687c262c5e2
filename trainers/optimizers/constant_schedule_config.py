"""The same learning rate throughout."""

from __future__ import annotations

from attrs import frozen

from trainers.optimizers.schedule_config import ScheduleConfig


@frozen(kw_only=True)
class ConstantScheduleConfig(ScheduleConfig):
    """The full learning rate in every iteration."""

    def factor(self, iteration: int) -> float:
        return 1.0

"""A learning rate that rises, then stays."""

from __future__ import annotations

from attrs import field, frozen
from attrs.validators import ge, gt, le

from trainers.optimizers.schedule_config import ScheduleConfig


@frozen(kw_only=True)
class LinearWarmUpScheduleConfig(ScheduleConfig):
    """From `start_factor` in iteration 0 up to 1 in iteration `iterations`; torch's `LinearLR`."""

    iterations: int = field(validator=ge(1))
    start_factor: float = field(default=0.01, validator=[gt(0), le(1)])

    def factor(self, iteration: int) -> float:
        progress = min(iteration / self.iterations, 1.0)
        return self.start_factor + (1.0 - self.start_factor) * progress

"""A learning rate that falls in steps."""

from __future__ import annotations

from attrs import field, frozen
from attrs.validators import ge, gt, le

from trainers.optimizers.schedule_config import ScheduleConfig


@frozen(kw_only=True)
class StepScheduleConfig(ScheduleConfig):
    """Multiplied by `step_factor` every so many iterations; torch's `StepLR`."""

    every_iterations: int = field(validator=ge(1))
    step_factor: float = field(default=0.1, validator=[gt(0), le(1)])

    def factor(self, iteration: int) -> float:
        return self.step_factor ** (iteration // self.every_iterations)

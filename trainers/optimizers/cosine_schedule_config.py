"""A learning rate that falls like half a cosine."""

from __future__ import annotations

import math

from attrs import field, frozen
from attrs.validators import ge, le

from trainers.optimizers.linear_warm_up_schedule_config import LinearWarmUpScheduleConfig
from trainers.optimizers.schedule_config import ScheduleConfig


@frozen(kw_only=True)
class CosineScheduleConfig(ScheduleConfig):
    """From 1 down to `final_factor`, where it stays; torch's `CosineAnnealingLR`."""

    iterations: int = field(validator=ge(1))
    """When `final_factor` is reached, the warm-up included."""
    warm_up_iterations: int = field(default=0, validator=ge(0))
    """Linear, from 0.01 up to 1; before the cosine begins."""
    final_factor: float = field(default=0.0, validator=[ge(0), le(1)])

    def __attrs_post_init__(self) -> None:
        if self.warm_up_iterations >= self.iterations:
            raise ValueError(
                f"warm_up_iterations: found {self.warm_up_iterations}; "
                f"must be less than iterations ({self.iterations})"
            )

    def factor(self, iteration: int) -> float:
        if iteration < self.warm_up_iterations:
            return LinearWarmUpScheduleConfig(iterations=self.warm_up_iterations).factor(iteration)
        past = iteration - self.warm_up_iterations
        progress = min(past / (self.iterations - self.warm_up_iterations), 1.0)
        return (
            self.final_factor + (1.0 - self.final_factor) * (1.0 + math.cos(math.pi * progress)) / 2
        )

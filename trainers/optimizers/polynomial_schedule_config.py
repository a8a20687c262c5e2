"""A learning rate that falls like a polynomial."""

from __future__ import annotations

import math

from attrs import field, frozen
from attrs.validators import ge, gt, le

from trainers.optimizers.schedule_config import ScheduleConfig


@frozen(kw_only=True)
class PolynomialScheduleConfig(ScheduleConfig):
    """From 1 down to `final_factor`, where it stays; with 0 it is torch's `PolynomialLR`."""

    iterations: int = field(validator=ge(1))
    """When `final_factor` is reached."""
    power: float = field(default=1.0, validator=gt(0))
    final_factor: float = field(default=0.0, validator=[ge(0), le(1)])

    def factor(self, iteration: int) -> float:
        rest = 1.0 - min(iteration / self.iterations, 1.0)
        return self.final_factor + (1.0 - self.final_factor) * math.pow(rest, self.power)

"""Schedules of the learning rate."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

from attrs import field, frozen
from attrs.validators import ge, gt, le


@frozen(kw_only=True)
class ScheduleConfig(ABC):
    """How the learning rate changes. It has no state: the iteration is all that it needs."""

    @abstractmethod
    def factor(self, iteration: int) -> float:
        """What the learning rate is multiplied by in an iteration, counted from 0."""


@frozen(kw_only=True)
class ConstantScheduleConfig(ScheduleConfig):
    """The full learning rate in every iteration."""

    def factor(self, iteration: int) -> float:
        return 1.0


@frozen(kw_only=True)
class LinearWarmUpScheduleConfig(ScheduleConfig):
    """From `start_factor` in iteration 0 up to 1 in iteration `iterations`; torch's `LinearLR`."""

    iterations: int = field(validator=ge(1))
    start_factor: float = field(default=0.01, validator=[gt(0), le(1)])

    def factor(self, iteration: int) -> float:
        progress = min(iteration / self.iterations, 1.0)
        return self.start_factor + (1.0 - self.start_factor) * progress


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


@frozen(kw_only=True)
class StepScheduleConfig(ScheduleConfig):
    """Multiplied by `step_factor` every so many iterations; torch's `StepLR`."""

    every_iterations: int = field(validator=ge(1))
    step_factor: float = field(default=0.1, validator=[gt(0), le(1)])

    def factor(self, iteration: int) -> float:
        return self.step_factor ** (iteration // self.every_iterations)

"""Schedules of the learning rate: pure functions of the iteration, so nothing to checkpoint.

Torch's own schedulers count steps, and are state that a resumed run would have to restore.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

from attrs import field, frozen
from attrs.validators import ge, gt, le


@frozen(kw_only=True)
class ScheduleConfig(ABC):
    """A schedule of the learning rate over the iterations."""

    @abstractmethod
    def factor(self, iteration: int) -> float:
        """Return the factor of the learning rate in an iteration, counted from 0."""


@frozen(kw_only=True)
class ConstantScheduleConfig(ScheduleConfig):
    """The full learning rate in every iteration."""

    def factor(self, iteration: int) -> float:
        return 1.0


@frozen(kw_only=True)
class LinearWarmUpScheduleConfig(ScheduleConfig):
    """A linear rise from `start_factor` to 1 in the first `iterations`; torch's `LinearLR`."""

    iterations: int = field(validator=ge(1))
    """Length of the warm-up."""
    start_factor: float = field(default=0.01, validator=[gt(0), le(1)])
    """The factor in iteration 0."""

    def factor(self, iteration: int) -> float:
        progress = min(iteration / self.iterations, 1.0)
        return self.start_factor + (1.0 - self.start_factor) * progress


@frozen(kw_only=True)
class CosineScheduleConfig(ScheduleConfig):
    """A fall from 1 to `final_factor`, along a cosine; torch's `CosineAnnealingLR`.

    Cosine annealing without restarts (Loshchilov and Hutter, 2017).
    """

    iterations: int = field(validator=ge(1))
    """The iteration in which `final_factor` is reached, warm-up included."""
    warm_up_iterations: int = field(default=0, validator=ge(0))
    """Length of a linear warm-up, from 0.01 to 1, before the cosine."""
    final_factor: float = field(default=0.0, validator=[ge(0), le(1)])
    """The factor at the end, and from there on."""

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
    """A fall from 1 to `final_factor`; with 0 it is torch's `PolynomialLR`."""

    iterations: int = field(validator=ge(1))
    """The iteration in which `final_factor` is reached."""
    power: float = field(default=1.0, validator=gt(0))
    """Of the remaining fraction of iterations; 1 is a linear fall."""
    final_factor: float = field(default=0.0, validator=[ge(0), le(1)])
    """The factor at the end, and from there on."""

    def factor(self, iteration: int) -> float:
        rest = 1.0 - min(iteration / self.iterations, 1.0)
        return self.final_factor + (1.0 - self.final_factor) * math.pow(rest, self.power)


@frozen(kw_only=True)
class StepScheduleConfig(ScheduleConfig):
    """A factor of `step_factor` every `every_iterations`; torch's `StepLR`."""

    every_iterations: int = field(validator=ge(1))
    """Length of a step."""
    step_factor: float = field(default=0.1, validator=[gt(0), le(1)])
    """By which the learning rate is multiplied at each step."""

    def factor(self, iteration: int) -> float:
        return self.step_factor ** (iteration // self.every_iterations)

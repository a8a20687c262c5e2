"""Torch's optimizers, and schedules of the learning rate, as configs."""

from __future__ import annotations

from trainers.optimizers.optimizer_configs import (
    AdamConfig,
    AdamWConfig,
    OptimizerConfig,
    RAdamConfig,
    SGDConfig,
)
from trainers.optimizers.schedule_configs import (
    ConstantScheduleConfig,
    CosineScheduleConfig,
    LinearWarmUpScheduleConfig,
    PolynomialScheduleConfig,
    ScheduleConfig,
    StepScheduleConfig,
)

__all__ = [
    "AdamConfig",
    "AdamWConfig",
    "ConstantScheduleConfig",
    "CosineScheduleConfig",
    "LinearWarmUpScheduleConfig",
    "OptimizerConfig",
    "PolynomialScheduleConfig",
    "RAdamConfig",
    "SGDConfig",
    "ScheduleConfig",
    "StepScheduleConfig",
]

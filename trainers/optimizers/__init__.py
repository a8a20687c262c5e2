"""How the weights follow the gradients: torch's optimizers, and schedules."""

from __future__ import annotations

from trainers.optimizers.adam_config import AdamConfig
from trainers.optimizers.adamw_config import AdamWConfig
from trainers.optimizers.constant_schedule_config import ConstantScheduleConfig
from trainers.optimizers.cosine_schedule_config import CosineScheduleConfig
from trainers.optimizers.linear_warm_up_schedule_config import LinearWarmUpScheduleConfig
from trainers.optimizers.optimizer_config import OptimizerConfig
from trainers.optimizers.polynomial_schedule_config import PolynomialScheduleConfig
from trainers.optimizers.radam_config import RAdamConfig
from trainers.optimizers.schedule_config import ScheduleConfig
from trainers.optimizers.sgd_config import SGDConfig
from trainers.optimizers.step_schedule_config import StepScheduleConfig

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

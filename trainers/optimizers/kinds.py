"""The optimizers and schedules that a config can name."""

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

OPTIMIZERS: dict[str, type[OptimizerConfig]] = {
    "radam": RAdamConfig,
    "adam": AdamConfig,
    "adamw": AdamWConfig,
    "sgd": SGDConfig,
}

SCHEDULES: dict[str, type[ScheduleConfig]] = {
    "constant": ConstantScheduleConfig,
    "linear_warm_up": LinearWarmUpScheduleConfig,
    "cosine": CosineScheduleConfig,
    "step": StepScheduleConfig,
    "polynomial": PolynomialScheduleConfig,
}

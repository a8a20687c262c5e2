"""The tables of kinds: which class `kind: …` stands for in a config file."""

from __future__ import annotations

from collections.abc import Mapping

from trainers.architectures.architecture_config import ArchitectureConfig
from trainers.architectures.custom_config import CustomArchitectureConfig
from trainers.architectures.unet_config import UNetConfig
from trainers.dummy_trainer_config import DummyTrainerConfig
from trainers.gp_augments.artifact_configs import (
    BlurAugmentConfig,
    CutoutAugmentConfig,
    DefectsAugmentConfig,
    NoiseAugmentConfig,
)
from trainers.gp_augments.augment_config import AugmentConfig
from trainers.gp_augments.custom_config import CustomAugmentConfig
from trainers.gp_augments.intensity_configs import (
    ContrastAugmentConfig,
    GammaAugmentConfig,
    IntensityAugmentConfig,
    IntensityScaleShiftAugmentConfig,
)
from trainers.gp_augments.spatial_configs import ElasticAugmentConfig, SimpleAugmentConfig
from trainers.gunpowder_trainer_config import GunpowderTrainerConfig
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
from trainers.tasks.task_configs import (
    AffinitiesTaskConfig,
    DistanceTaskConfig,
    OneHotTaskConfig,
    TaskConfig,
)
from trainers.trainer_config import TrainerConfig

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

ARCHITECTURES: dict[str, type[ArchitectureConfig]] = {
    "unet": UNetConfig,
    "custom": CustomArchitectureConfig,
}

AUGMENTS: dict[str, type[AugmentConfig]] = {
    "simple": SimpleAugmentConfig,
    "elastic": ElasticAugmentConfig,
    "intensity": IntensityAugmentConfig,
    "intensity_scale_shift": IntensityScaleShiftAugmentConfig,
    "gamma": GammaAugmentConfig,
    "contrast": ContrastAugmentConfig,
    "noise": NoiseAugmentConfig,
    "blur": BlurAugmentConfig,
    "defects": DefectsAugmentConfig,
    "cutout": CutoutAugmentConfig,
    "custom": CustomAugmentConfig,
}

TASKS: dict[str, type[TaskConfig]] = {
    "affinities": AffinitiesTaskConfig,
    "one_hot": OneHotTaskConfig,
    "distance": DistanceTaskConfig,
}

TRAINERS: dict[str, type[TrainerConfig]] = {
    "dummy": DummyTrainerConfig,
    "gunpowder": GunpowderTrainerConfig,
}

KINDS: dict[type, Mapping[str, type]] = {
    TaskConfig: TASKS,
    ArchitectureConfig: ARCHITECTURES,
    TrainerConfig: TRAINERS,
    OptimizerConfig: OPTIMIZERS,
    ScheduleConfig: SCHEDULES,
    AugmentConfig: AUGMENTS,
}
"""Tables of kinds by the type of the config field."""

KIND_NAMES: dict[type, str] = {cls: name for table in KINDS.values() for name, cls in table.items()}

"""Train segmentation networks on volumetric EM data, in runs that resume bit for bit.

The public names. Each module is imported when its name is first used (PEP 562), so that
`trainers.RunConfig` does not import torch on a login node.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trainers.config.run_config import RunConfig
    from trainers.dummy_trainer import DummyTrainer
    from trainers.dummy_trainer_config import DummyTrainerConfig
    from trainers.gp_augments.augment_config import AugmentConfig
    from trainers.gunpowder_trainer import GunpowderTrainer
    from trainers.gunpowder_trainer_config import GunpowderTrainerConfig
    from trainers.trainer import Trainer
    from trainers.trainer_config import TrainerConfig
    from trainers.training_iteration_stats import TrainingIterationStats
    from trainers.weights.load_model import load_model

__all__ = [
    "AugmentConfig",
    "DummyTrainer",
    "DummyTrainerConfig",
    "GunpowderTrainer",
    "GunpowderTrainerConfig",
    "RunConfig",
    "Trainer",
    "TrainerConfig",
    "TrainingIterationStats",
    "load_model",
]

_MODULES = {
    "AugmentConfig": "trainers.gp_augments.augment_config",
    "DummyTrainer": "trainers.dummy_trainer",
    "DummyTrainerConfig": "trainers.dummy_trainer_config",
    "GunpowderTrainer": "trainers.gunpowder_trainer",
    "GunpowderTrainerConfig": "trainers.gunpowder_trainer_config",
    "RunConfig": "trainers.config.run_config",
    "Trainer": "trainers.trainer",
    "TrainerConfig": "trainers.trainer_config",
    "TrainingIterationStats": "trainers.training_iteration_stats",
    "load_model": "trainers.weights.load_model",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

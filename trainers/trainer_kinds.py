"""The trainers that a config can name."""

from __future__ import annotations

from trainers.dummy_trainer_config import DummyTrainerConfig
from trainers.gunpowder_trainer_config import GunpowderTrainerConfig
from trainers.trainer_config import TrainerConfig

TRAINERS: dict[str, type[TrainerConfig]] = {
    "dummy": DummyTrainerConfig,
    "gunpowder": GunpowderTrainerConfig,
}

"""The config of a trainer for tests of everything around training."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen

from trainers.trainer_config import TrainerConfig

if TYPE_CHECKING:
    from trainers.dummy_trainer import DummyTrainer


@frozen(kw_only=True)
class DummyTrainerConfig(TrainerConfig):
    """Trains on noise; reads no volume."""

    mirror_augment: bool
    """Whether samples are mirrored at random."""

    @property
    def trainer_type(self) -> type[DummyTrainer]:
        from trainers.dummy_trainer import DummyTrainer

        return DummyTrainer

    def build(self) -> DummyTrainer:
        return self.trainer_type(self)

    def verify(self) -> tuple[bool, str]:
        return False, "a DummyTrainerConfig is for tests and is never valid"

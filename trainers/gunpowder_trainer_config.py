"""Training on crops that a gunpowder pipeline cuts out of volumes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import field, frozen
from attrs.validators import ge, le, optional

from trainers.gp_augments.augment_config import AugmentConfig
from trainers.optimizers.optimizer_config import OptimizerConfig
from trainers.optimizers.radam_config import RAdamConfig
from trainers.trainer_config import TrainerConfig

if TYPE_CHECKING:
    from trainers.gunpowder_trainer import GunpowderTrainer


@frozen(kw_only=True)
class GunpowderTrainerConfig(TrainerConfig):
    """Trains on random crops of the datasets, drawn anew for every iteration."""

    num_data_fetchers: int = field(default=5, validator=ge(0))
    """Processes that make samples; 0 makes them in the trainer's own. The samples are the same."""
    augments: tuple[AugmentConfig, ...] = field(default=(), converter=tuple)
    """Applied in this order."""
    snapshot_interval: int | None = field(default=None, validator=optional(ge(1)))
    """Iterations between two pictures of what the trainer saw, the first at iteration 0."""
    min_masked: float | None = field(
        default=0.15,
        validator=optional([ge(0), le(1)]),  # type: ignore[arg-type]  # the default is no None
    )
    """Fraction of a crop's output that the mask must cover, or another crop is drawn."""
    clip_raw: bool = True
    """Whether raw outside of the ground truth's extent reads as 0."""
    optimizer: OptimizerConfig = field(factory=RAdamConfig)

    @property
    def trainer_type(self) -> type[GunpowderTrainer]:
        from trainers.gunpowder_trainer import GunpowderTrainer

        return GunpowderTrainer

    def build(self) -> GunpowderTrainer:
        return self.trainer_type(self)

    def verify(self) -> tuple[bool, str]:
        return True, "every valid GunpowderTrainerConfig can train"

"""Training on crops that a gunpowder pipeline cuts out of volumes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import field, frozen
from attrs.validators import ge, le, optional

from trainers.gp_augments.augment_config import AugmentConfig
from trainers.gp_augments.gamma_config import GammaAugmentConfig
from trainers.gp_augments.intensity_config import IntensityAugmentConfig
from trainers.gp_augments.intensity_scale_shift_config import IntensityScaleShiftAugmentConfig
from trainers.gp_augments.noise_config import NoiseAugmentConfig
from trainers.optimizers.optimizer_config import OptimizerConfig
from trainers.optimizers.radam_config import RAdamConfig
from trainers.trainer_config import TrainerConfig

if TYPE_CHECKING:
    from trainers.gunpowder_trainer import GunpowderTrainer


@frozen(kw_only=True)
class GunpowderTrainerConfig(TrainerConfig):
    """Trains on random crops of the datasets, drawn anew for every iteration."""

    num_data_fetchers: int = field(default=5, validator=ge(0))
    """Processes that make samples, on each node, where its ranks share them: each has at least one.
    0 makes them in the trainers' own processes. The samples are the same."""
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
        low, high = 0.0, 1.0
        for position, augment in enumerate(self.augments):
            if isinstance(augment, IntensityScaleShiftAugmentConfig):
                low, high = sorted(end * augment.scale + augment.shift for end in (low, high))
            elif _needs_0_to_1(augment) and (low < 0 or high > 1):
                return False, (
                    f"augments.{position} needs raw within 0..1, but the scale and shift before "
                    f"it turn that into {low:g}..{high:g}; move it to the front"
                )
        return True, "all values go together"


def _needs_0_to_1(augment: AugmentConfig) -> bool:
    if isinstance(augment, IntensityAugmentConfig | NoiseAugmentConfig):
        return augment.clip
    return isinstance(augment, GammaAugmentConfig)

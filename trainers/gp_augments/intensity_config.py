"""Change brightness and contrast at random."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import field, frozen

from trainers.gp_augments.interval import is_interval
from trainers.gp_augments.raw_augment_config import RawAugmentConfig

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


@frozen(kw_only=True)
class IntensityAugmentConfig(RawAugmentConfig):
    """Multiplies a block's deviation from its mean by a random scale, and adds a random shift."""

    scale: tuple[float, float] = field(validator=is_interval)
    shift: tuple[float, float] = field(validator=is_interval)
    clip: bool = True
    """Whether to cut the result to 0..1."""

    @property
    def needs_0_to_1(self) -> bool:
        return self.clip

    def change(
        self, raw: npt.NDArray[np.float32], rng: np.random.Generator
    ) -> npt.NDArray[np.float32]:
        from trainers.gp_augments.contrast import scale_about

        scale, shift = rng.uniform(*self.scale), rng.uniform(*self.shift)
        return scale_about(raw, raw.mean(), scale, shift, clip=self.clip)

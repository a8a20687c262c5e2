"""Change brightness and contrast at random."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import field, frozen

from trainers.gp_augments.augment_config import AugmentConfig
from trainers.gp_augments.interval import is_interval

if TYPE_CHECKING:
    import gunpowder as gp
    import numpy as np
    import numpy.typing as npt


@frozen(kw_only=True)
class IntensityAugmentConfig(AugmentConfig):
    """Multiplies a block's deviation from its mean by a random scale, and adds a random shift."""

    makes_pure_node = True

    scale: tuple[float, float] = field(validator=is_interval)
    shift: tuple[float, float] = field(validator=is_interval)
    clip: bool = True
    """Whether to cut the result to 0..1."""

    def node(
        self, raw_key: gp.ArrayKey, gt_key: gp.ArrayKey, mask_key: gp.ArrayKey
    ) -> gp.BatchFilter:
        from trainers.gp_augments.raw_augment import RawAugment

        return RawAugment(raw_key, self._change, within_0_1=self.clip)

    def _change(
        self, raw: npt.NDArray[np.float32], rng: np.random.Generator
    ) -> npt.NDArray[np.float32]:
        from trainers.gp_augments.contrast import scale_about

        scale, shift = rng.uniform(*self.scale), rng.uniform(*self.shift)
        return scale_about(raw, raw.mean(), scale, shift, clip=self.clip)

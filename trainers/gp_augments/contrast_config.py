"""Change brightness and contrast of each section."""

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
class ContrastAugmentConfig(AugmentConfig):
    """As intensity, but drawn anew for each section along z: they were imaged one by one."""

    makes_pure_node = True

    scale: tuple[float, float] = field(validator=is_interval)
    """What the deviation from the section's mean is multiplied with."""
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
        from trainers.gp_augments.sections import sections_of

        for section in sections_of(raw):
            scale, shift = rng.uniform(*self.scale), rng.uniform(*self.shift)
            section[...] = scale_about(section, section.mean(), scale, shift, clip=self.clip)
        return raw

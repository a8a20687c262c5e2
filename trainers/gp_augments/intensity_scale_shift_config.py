"""Change the range of raw values."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen

from trainers.gp_augments.augment_config import AugmentConfig

if TYPE_CHECKING:
    import gunpowder as gp


@frozen(kw_only=True)
class IntensityScaleShiftAugmentConfig(AugmentConfig):
    """Turns every raw value into `value * scale + shift`, such as 0..1 into -1..1."""

    makes_pure_node = True

    scale: float
    shift: float

    def node(
        self, raw_key: gp.ArrayKey, gt_key: gp.ArrayKey, mask_key: gp.ArrayKey
    ) -> gp.BatchFilter:
        from trainers.gp_augments.raw_augment import RawAugment

        return RawAugment(raw_key, lambda raw, _: raw * self.scale + self.shift, within_0_1=False)

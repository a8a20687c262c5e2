"""Bend the brightness curve."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import field, frozen
from attrs.validators import and_, deep_iterable, gt

from trainers.gp_augments.augment_config import AugmentConfig
from trainers.gp_augments.interval import is_interval

if TYPE_CHECKING:
    import gunpowder as gp


@frozen(kw_only=True)
class GammaAugmentConfig(AugmentConfig):
    """Raises raw, which must lie within 0..1 and stays there, to a random power."""

    makes_pure_node = True

    gamma_range: tuple[float, float] = field(validator=and_(is_interval, deep_iterable(gt(0))))

    def node(
        self, raw_key: gp.ArrayKey, gt_key: gp.ArrayKey, mask_key: gp.ArrayKey
    ) -> gp.BatchFilter:
        from trainers.gp_augments.raw_augment import RawAugment

        return RawAugment(
            raw_key, lambda raw, rng: raw ** rng.uniform(*self.gamma_range), within_0_1=True
        )

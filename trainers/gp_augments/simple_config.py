"""Mirror and transpose."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen

from trainers.gp_augments.augment_config import AugmentConfig

if TYPE_CHECKING:
    import gunpowder as gp


@frozen(kw_only=True)
class SimpleAugmentConfig(AugmentConfig):
    """Mirrors every axis with probability 1/2 and permutes the axes of equal voxel size."""

    def node(
        self, raw_key: gp.ArrayKey, gt_key: gp.ArrayKey, mask_key: gp.ArrayKey
    ) -> gp.BatchFilter:
        from trainers.gp_augments.simple_augment import SimpleAugment

        return SimpleAugment(raw_key)

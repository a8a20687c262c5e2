"""Mirror and transpose."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen

from trainers.gp_augments.augment_config import AugmentConfig

if TYPE_CHECKING:
    import gunpowder as gp


@frozen(kw_only=True)
class SimpleAugmentConfig(AugmentConfig):
    """Mirrors every axis with probability 1/2 and permutes the axes of equal voxel size.

    Right before an elastic augment it costs nothing: both are one node then.
    """

    makes_pure_node = True

    def node(
        self, raw_key: gp.ArrayKey, gt_key: gp.ArrayKey, mask_key: gp.ArrayKey
    ) -> gp.BatchFilter:
        from trainers.gp_augments.spatial_augment import SpatialAugment

        return SpatialAugment(is_simple=True)

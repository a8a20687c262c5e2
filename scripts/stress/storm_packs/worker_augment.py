"""An augment that changes nothing, and that has samples made in processes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen

from trainers import AugmentConfig

if TYPE_CHECKING:
    import gunpowder as gp


@frozen(kw_only=True)
class WorkerAugment(AugmentConfig):
    """Not thread-safe, as most of gunpowder's own nodes."""

    def node(
        self, raw_key: gp.ArrayKey, gt_key: gp.ArrayKey, mask_key: gp.ArrayKey
    ) -> gp.BatchFilter:
        import gunpowder as gp

        return gp.IntensityScaleShift(raw_key, 1, 0)

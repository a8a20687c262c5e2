"""Take away what is sharp."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import field, frozen
from attrs.validators import and_, deep_iterable, ge

from trainers.gp_augments.augment_config import AugmentConfig
from trainers.gp_augments.interval import is_interval

if TYPE_CHECKING:
    import gunpowder as gp
    import numpy as np
    import numpy.typing as npt


@frozen(kw_only=True)
class BlurAugmentConfig(AugmentConfig):
    """Convolves raw with a Gaussian of random width, as an image out of focus has it."""

    makes_pure_node = True

    sigma: tuple[float, float] = field(validator=and_(is_interval, deep_iterable(ge(0))))
    """Standard deviation, in voxels."""
    in_sections: bool = False
    """Blur along y and x only, each section by itself."""

    def node(
        self, raw_key: gp.ArrayKey, gt_key: gp.ArrayKey, mask_key: gp.ArrayKey
    ) -> gp.BatchFilter:
        from trainers.gp_augments.raw_augment import RawAugment

        return RawAugment(raw_key, self._change, within_0_1=False)

    def _change(
        self, raw: npt.NDArray[np.float32], rng: np.random.Generator
    ) -> npt.NDArray[np.float32]:
        from scipy.ndimage import gaussian_filter

        axes = (-2, -1) if self.in_sections else tuple(range(1, raw.ndim))
        blurred: npt.NDArray[np.float32] = gaussian_filter(
            raw, rng.uniform(*self.sigma), axes=axes, mode="nearest"
        )
        return blurred

"""Take away what is sharp."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import field, frozen
from attrs.validators import and_, deep_iterable, ge

from trainers.gp_augments.interval import is_interval
from trainers.gp_augments.raw_augment_config import RawAugmentConfig

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


@frozen(kw_only=True)
class BlurAugmentConfig(RawAugmentConfig):
    """Convolves raw with a Gaussian of random width, as an image out of focus has it."""

    sigma: tuple[float, float] = field(validator=and_(is_interval, deep_iterable(ge(0))))
    """Standard deviation, in voxels."""
    in_sections: bool = False
    """Blur along y and x only, each section by itself."""

    def change(
        self, raw: npt.NDArray[np.float32], rng: np.random.Generator
    ) -> npt.NDArray[np.float32]:
        from scipy.ndimage import gaussian_filter

        axes = (-2, -1) if self.in_sections else tuple(range(1, raw.ndim))
        blurred: npt.NDArray[np.float32] = gaussian_filter(
            raw, rng.uniform(*self.sigma), axes=axes, mode="nearest"
        )
        return blurred

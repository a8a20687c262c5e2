"""Change the range of raw values."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen

from trainers.gp_augments.raw_augment_config import RawAugmentConfig

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


@frozen(kw_only=True)
class IntensityScaleShiftAugmentConfig(RawAugmentConfig):
    """Turns every raw value into `value * scale + shift`, such as 0..1 into -1..1."""

    scale: float
    shift: float

    def change(
        self, raw: npt.NDArray[np.float32], rng: np.random.Generator
    ) -> npt.NDArray[np.float32]:
        return raw * self.scale + self.shift

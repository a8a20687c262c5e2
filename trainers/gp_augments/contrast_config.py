"""Change brightness and contrast of each section."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen

from trainers.gp_augments.intensity_config import IntensityAugmentConfig

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


@frozen(kw_only=True)
class ContrastAugmentConfig(IntensityAugmentConfig):
    """As intensity, but drawn anew for each section along z: they were imaged one by one."""

    def change(
        self, raw: npt.NDArray[np.float32], rng: np.random.Generator
    ) -> npt.NDArray[np.float32]:
        from trainers.gp_augments.sections import sections_of

        for section in sections_of(raw):
            section[...] = super().change(section, rng)
        return raw

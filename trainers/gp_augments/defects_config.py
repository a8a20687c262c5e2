"""Spoil sections."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import field, frozen
from attrs.validators import ge, le

from trainers.gp_augments.raw_augment_config import RawAugmentConfig

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

_PROBABILITY: Any = [ge(0), le(1)]


@frozen(kw_only=True)
class DefectsAugmentConfig(RawAugmentConfig):
    """Spoils raw, section by section along z, in the ways that serial sections are: each section
    in one of them or in none. Ground truth stays, so that networks learn to bridge them."""

    missing: float = field(default=0.0, validator=_PROBABILITY)
    """Probability that a section is lost: all of it is 0."""
    low_contrast: float = field(default=0.0, validator=_PROBABILITY)
    """Probability that a section is pale."""
    contrast_scale: float = field(default=0.1, validator=[ge(0), le(1)])
    """What is left of the deviation from the mean where it is pale."""
    shifted: float = field(default=0.0, validator=_PROBABILITY)
    """Probability that a section lies beside its place."""
    max_shift: int = field(default=5, validator=ge(1))
    """In voxels, along y and x; the border is repeated where nothing is left."""

    def __attrs_post_init__(self) -> None:
        if self.missing + self.low_contrast + self.shifted > 1:
            raise ValueError(
                "missing, low_contrast and shifted exclude each other; found probabilities of "
                f"{self.missing:g}, {self.low_contrast:g} and {self.shifted:g}; must be 1 in all, "
                "or less"
            )

    def change(
        self, raw: npt.NDArray[np.float32], rng: np.random.Generator
    ) -> npt.NDArray[np.float32]:
        from trainers.gp_augments.sections import sections_of

        for section in sections_of(raw):
            drawn = rng.random()
            shift = rng.integers(-self.max_shift, self.max_shift, 2, endpoint=True)
            if drawn < self.missing:
                section[...] = 0
            elif drawn < self.missing + self.low_contrast:
                mean = section.mean()
                section[...] = (section - mean) * self.contrast_scale + mean
            elif drawn < self.missing + self.low_contrast + self.shifted:
                section[...] = _shifted(section, *shift.tolist())
        return raw


def _shifted(section: npt.NDArray[np.float32], dy: int, dx: int) -> npt.NDArray[np.float32]:
    """`[C, y, x]`, moved towards higher y and x."""
    import numpy as np

    _, height, width = section.shape
    rows = np.clip(np.arange(height) - dy, 0, height - 1)
    columns = np.clip(np.arange(width) - dx, 0, width - 1)
    return section[:, rows[:, np.newaxis], columns]

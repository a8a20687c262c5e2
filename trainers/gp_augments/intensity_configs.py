"""Augments of brightness and contrast: scale and shift, intensity, contrast and gamma."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import field, frozen
from attrs.validators import and_, deep_iterable, gt

from trainers.gp_augments.raw_augment_config import RawAugmentConfig, is_interval

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


@frozen(kw_only=True)
class IntensityScaleShiftAugmentConfig(RawAugmentConfig):
    """`value * scale + shift` for every raw value, such as from 0..1 to -1..1. Not random."""

    scale: float
    """The factor."""
    shift: float
    """What is added, where raw is within 0..1."""

    def change(
        self, raw: npt.NDArray[np.float32], rng: np.random.Generator
    ) -> npt.NDArray[np.float32]:
        return raw * self.scale + self.shift


@frozen(kw_only=True)
class IntensityAugmentConfig(RawAugmentConfig):
    """A random scale of a block's deviation from its mean, and a random shift."""

    scale: tuple[float, float] = field(validator=is_interval)
    """Interval of the factor."""
    shift: tuple[float, float] = field(validator=is_interval)
    """Interval of what is added, where raw is within 0..1."""
    clip: bool = True
    """Whether to clip the result to 0..1."""

    @property
    def needs_0_to_1(self) -> bool:
        return self.clip

    def change(
        self, raw: npt.NDArray[np.float32], rng: np.random.Generator
    ) -> npt.NDArray[np.float32]:
        from trainers.gp_augments.contrast import scale_about

        scale, shift = rng.uniform(*self.scale), rng.uniform(*self.shift)
        return scale_about(raw, raw.mean(), scale, shift, clip=self.clip)


@frozen(kw_only=True)
class ContrastAugmentConfig(IntensityAugmentConfig):
    """The intensity augment, drawn for each section along z: they were imaged one by one."""

    def change(
        self, raw: npt.NDArray[np.float32], rng: np.random.Generator
    ) -> npt.NDArray[np.float32]:
        from trainers.gp_augments.raw_values import sections_of

        for section in sections_of(raw):
            section[...] = super().change(section, rng)
        return raw


@frozen(kw_only=True)
class GammaAugmentConfig(RawAugmentConfig):
    """A random power of raw, which must lie within 0..1, and stays there."""

    gamma_range: tuple[float, float] = field(validator=and_(is_interval, deep_iterable(gt(0))))
    """Interval of the exponent."""

    @property
    def needs_0_to_1(self) -> bool:
        return True

    def change(
        self, raw: npt.NDArray[np.float32], rng: np.random.Generator
    ) -> npt.NDArray[np.float32]:
        return raw ** rng.uniform(*self.gamma_range)

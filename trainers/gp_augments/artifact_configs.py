"""Augments that imitate imaging artifacts: noise, blur, defects of sections, and cutouts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, get_args

from attrs import field, frozen
from attrs.validators import and_, deep_iterable, ge, gt, in_, le, max_len, min_len, optional

from trainers.gp_augments.raw_augment_config import RawAugmentConfig, is_interval

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

NoiseMode = Literal["gaussian", "speckle", "poisson", "salt", "pepper", "s&p"]

_PROBABILITY: Any = [ge(0), le(1)]
_ARGUMENTS = {
    "gaussian": ("mean", "var"),
    "speckle": ("mean", "var"),
    "poisson": (),
    "salt": ("amount",),
    "pepper": ("amount",),
    "s&p": ("amount",),
}
"""The arguments of `skimage.util.random_noise` that each mode takes."""


@frozen(kw_only=True)
class NoiseAugmentConfig(RawAugmentConfig):
    """Noise of `skimage.util.random_noise`; None means its default."""

    mode: NoiseMode = field(default="gaussian", validator=in_(get_args(NoiseMode)))
    """The kind of noise, as scikit-image names it."""
    mean: float | None = None
    """Of `gaussian` and `speckle`."""
    var: float | None = field(default=None, validator=optional(ge(0)))
    """Variance of `gaussian` and `speckle`."""
    amount: float | None = field(default=None, validator=optional(ge(0)))
    """Fraction of the voxels that become salt (1) or pepper (0)."""
    clip: bool = True
    """Whether to clip the result to 0..1."""

    def __attrs_post_init__(self) -> None:
        unused = set(self._given()) - set(_ARGUMENTS[self.mode])
        if unused:
            raise ValueError(
                f"{self.mode} noise has no {', '.join(sorted(unused))}; "
                f"it takes {', '.join(_ARGUMENTS[self.mode]) or 'no argument'}"
            )

    @property
    def needs_0_to_1(self) -> bool:
        return self.clip

    def change(
        self, raw: npt.NDArray[np.float32], rng: np.random.Generator
    ) -> npt.NDArray[np.float32]:
        from skimage.util import random_noise

        noisy: npt.NDArray[np.float32] = random_noise(  # type: ignore[no-untyped-call]
            raw, mode=self.mode, rng=rng, clip=self.clip, **self._given()
        )
        return noisy

    def _given(self) -> dict[str, float]:
        arguments = {"mean": self.mean, "var": self.var, "amount": self.amount}
        return {name: value for name, value in arguments.items() if value is not None}


@frozen(kw_only=True)
class BlurAugmentConfig(RawAugmentConfig):
    """Convolution of raw with a Gaussian of random width, like an image out of focus."""

    sigma: tuple[float, float] = field(validator=and_(is_interval, deep_iterable(ge(0))))
    """Interval of the standard deviation, in voxels."""
    in_sections: bool = False
    """Blur along y and x only."""

    def change(
        self, raw: npt.NDArray[np.float32], rng: np.random.Generator
    ) -> npt.NDArray[np.float32]:
        from scipy.ndimage import gaussian_filter

        axes = (-2, -1) if self.in_sections else tuple(range(1, raw.ndim))
        blurred: npt.NDArray[np.float32] = gaussian_filter(
            raw, rng.uniform(*self.sigma), axes=axes, mode="nearest"
        )
        return blurred


@frozen(kw_only=True)
class DefectsAugmentConfig(RawAugmentConfig):
    """Damage to sections of raw along z, as in serial sections; one kind per section at most.

    Ground truth is unchanged, so that networks learn to bridge the defects.
    """

    missing: float = field(default=0.0, validator=_PROBABILITY)
    """Probability that a section is missing: all of it is 0."""
    low_contrast: float = field(default=0.0, validator=_PROBABILITY)
    """Probability that a section has low contrast."""
    contrast_scale: float = field(default=0.1, validator=[ge(0), le(1)])
    """Factor of the deviation from the mean in sections of low contrast."""
    shifted: float = field(default=0.0, validator=_PROBABILITY)
    """Probability that a section is shifted."""
    max_shift: int = field(default=5, validator=ge(1))
    """In voxels, along y and x; the border is repeated where no data are left."""

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
        from trainers.gp_augments.raw_values import sections_of

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


@frozen(kw_only=True)
class CutoutAugmentConfig(RawAugmentConfig):
    """Random boxes of raw, replaced by its mean (Cutout; DeVries and Taylor, 2017).

    Ground truth is unchanged, so that networks learn to use the context.
    """

    max_boxes: int = field(validator=ge(1))
    """The number of boxes is drawn uniformly from 0 to this."""
    size: tuple[int, ...] = field(validator=and_(min_len(2), max_len(3), deep_iterable(gt(0))))
    """Size of a box in voxels, z, y, x or y, x; boxes are cut off at the border of the block."""
    probability: float = field(default=1.0, validator=[ge(0), le(1)])
    """Probability that boxes are drawn at all."""

    def change(
        self, raw: npt.NDArray[np.float32], rng: np.random.Generator
    ) -> npt.NDArray[np.float32]:
        shape = raw.shape[1:]
        if len(shape) != len(self.size):
            from trainers.errors import ConfigError

            raise ConfigError(
                f"the cutout augment has {len(self.size)} values of size, and the volumes have "
                f"{len(shape)} axes; give one per axis"
            )
        mean = raw.mean()
        number = int(rng.integers(self.max_boxes, endpoint=True))
        if rng.random() >= self.probability:
            number = 0
        for _ in range(number):
            center = rng.integers(shape)
            box = tuple(
                slice(max(at - length // 2, 0), max(at - length // 2, 0) + length)
                for at, length in zip(center.tolist(), self.size, strict=True)
            )
            raw[(slice(None), *box)] = mean
        return raw


def _shifted(section: npt.NDArray[np.float32], dy: int, dx: int) -> npt.NDArray[np.float32]:
    """Return a section `[C, y, x]`, moved by voxels towards higher y and x."""
    import numpy as np

    _, height, width = section.shape
    rows = np.clip(np.arange(height) - dy, 0, height - 1)
    columns = np.clip(np.arange(width) - dx, 0, width - 1)
    return section[:, rows[:, np.newaxis], columns]

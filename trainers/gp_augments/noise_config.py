"""Add noise."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import field, frozen
from attrs.validators import ge, in_, optional

from trainers.gp_augments.raw_augment_config import RawAugmentConfig

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

_ARGUMENTS = {
    "gaussian": ("mean", "var"),
    "speckle": ("mean", "var"),
    "poisson": (),
    "salt": ("amount",),
    "pepper": ("amount",),
    "s&p": ("amount",),
}


@frozen(kw_only=True)
class NoiseAugmentConfig(RawAugmentConfig):
    """Adds noise to raw as `skimage.util.random_noise` does, with its defaults for what is None."""

    mode: str = field(default="gaussian", validator=in_(tuple(_ARGUMENTS)))
    mean: float | None = None
    var: float | None = field(default=None, validator=optional(ge(0)))
    amount: float | None = field(default=None, validator=optional(ge(0)))
    """Fraction of the voxels that become salt or pepper."""
    clip: bool = True
    """Whether to cut the result to 0..1."""

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

"""Bend the brightness curve."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import field, frozen
from attrs.validators import and_, deep_iterable, gt

from trainers.gp_augments.interval import is_interval
from trainers.gp_augments.raw_augment_config import RawAugmentConfig

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


@frozen(kw_only=True)
class GammaAugmentConfig(RawAugmentConfig):
    """Raises raw, which must lie within 0..1 and stays there, to a random power."""

    gamma_range: tuple[float, float] = field(validator=and_(is_interval, deep_iterable(gt(0))))

    @property
    def needs_0_to_1(self) -> bool:
        return True

    def change(
        self, raw: npt.NDArray[np.float32], rng: np.random.Generator
    ) -> npt.NDArray[np.float32]:
        return raw ** rng.uniform(*self.gamma_range)

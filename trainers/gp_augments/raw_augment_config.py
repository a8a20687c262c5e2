"""The base of augments that change raw values only."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any

from attrs import frozen

from trainers.gp_augments.augment_config import AugmentConfig

if TYPE_CHECKING:
    import gunpowder as gp
    import numpy as np
    import numpy.typing as npt
    from attrs import Attribute


def is_interval(_: object, __: Attribute[Any], value: tuple[float, ...]) -> None:
    """Validate, for attrs, that a value is [low, high]."""
    if len(value) != 2 or value[0] > value[1]:
        raise ValueError(f"must be [low, high] with low <= high; found {list(value)}")


@frozen(kw_only=True)
class RawAugmentConfig(AugmentConfig):
    """An augment that changes raw, and leaves ground truth and mask as they are."""

    thread_safe = True

    @property
    def needs_0_to_1(self) -> bool:
        """Whether it is correct only for values within 0..1, and keeps them there."""
        return False

    @abstractmethod
    def change(
        self, raw: npt.NDArray[np.float32], rng: np.random.Generator
    ) -> npt.NDArray[np.float32]:
        """Return raw `[C, z, y, x]`, changed; may be the same array, changed in place."""

    def node(
        self, raw_key: gp.ArrayKey, gt_key: gp.ArrayKey, mask_key: gp.ArrayKey
    ) -> gp.BatchFilter:
        from trainers.gp_augments.raw_augment import RawAugment

        return RawAugment(raw_key, self.change, within_0_1=self.needs_0_to_1)

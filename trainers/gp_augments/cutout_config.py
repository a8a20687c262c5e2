"""Hide parts of what the network sees."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import field, frozen
from attrs.validators import and_, deep_iterable, ge, gt, le, max_len, min_len

from trainers.gp_augments.raw_augment_config import RawAugmentConfig

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


@frozen(kw_only=True)
class CutoutAugmentConfig(RawAugmentConfig):
    """Replaces boxes of raw by its mean, wherever they lie (DeVries and Taylor, 2017).

    Ground truth stays, so that networks learn from what is around.
    """

    max_boxes: int = field(validator=ge(1))
    """There are 0 to so many, each number as likely."""
    size: tuple[int, ...] = field(validator=and_(min_len(2), max_len(3), deep_iterable(gt(0))))
    """Of a box, in voxels; what does not lie in the block is cut off."""
    probability: float = field(default=1.0, validator=[ge(0), le(1)])
    """That there may be any."""

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
            centre = rng.integers(shape)
            box = tuple(
                slice(max(at - length // 2, 0), max(at - length // 2, 0) + length)
                for at, length in zip(centre.tolist(), self.size, strict=True)
            )
            raw[(slice(None), *box)] = mean
        return raw

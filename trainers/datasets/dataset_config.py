"""What a dataset consists of."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from attrs import field, frozen
from attrs.validators import ge, min_len

from trainers.datasets.array_config import ArrayConfig

if TYPE_CHECKING:
    from trainers.datasets.dataset import Dataset


@frozen(kw_only=True)
class DatasetConfig:
    """A raw volume, and what is known about it."""

    name: str = field(validator=min_len(1))
    raw: ArrayConfig
    gt: ArrayConfig | None = None
    """Object ids or class numbers; 0 is background. Needed for training."""
    mask: ArrayConfig | None = None
    """Not 0 where the ground truth may be trusted. None: everywhere inside of the ground truth."""
    weight: int = field(default=1, validator=ge(1))
    """How often samples come from here, relative to the other datasets."""
    sample_points: Path | None = None
    """CSV file with the header z,y,x (2-D: y,x) and positions in nm, in the frame of the arrays.
    Samples are then taken around those of the points that lie in the ground truth."""

    @property
    def arrays(self) -> dict[str, ArrayConfig]:
        """The arrays that there are, under "raw", "gt" and "mask"."""
        arrays = {"raw": self.raw, "gt": self.gt, "mask": self.mask}
        return {key: array for key, array in arrays.items() if array is not None}

    def build(self) -> Dataset:
        from trainers.datasets.dataset import Dataset

        return Dataset(self)

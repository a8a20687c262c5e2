"""Everything that determines the samples of a run."""

from __future__ import annotations

from attrs import frozen

from trainers.datasets.dataset import Dataset
from trainers.gp_augments.augment_config import AugmentConfig, are_thread_safe
from trainers.tasks.predictor import Predictor


@frozen(kw_only=True)
class StreamSpec:
    """Everything that samples depend on: equal specs give equal samples.

    Picklable, since worker processes are sent one."""

    datasets: tuple[Dataset, ...]
    """Each with ground truth; drawn in proportion to their weights."""
    input_shape: tuple[int, ...]
    """Of the network, in voxels of the dataset that a sample comes from; z, y, x or y, x."""
    output_shape: tuple[int, ...]
    """Of the network, in voxels; the output block is centered in the input."""
    predictor: Predictor
    augments: tuple[AugmentConfig, ...] = ()
    min_masked: float | None = None
    """Fraction of the output block, before augments, that the mask must cover."""
    clip_raw: bool = True
    """Whether raw outside the ground truth's extent reads as 0."""
    seed: int
    batch_size: int
    """Samples per iteration; a sample itself does not depend on it."""

    @property
    def thread_safe(self) -> bool:
        """Whether workers can be threads of one process."""
        return are_thread_safe(self.augments)

"""All that determines the samples of a run."""

from __future__ import annotations

from attrs import frozen

from trainers.datasets.dataset import Dataset
from trainers.gp_augments.augment_config import AugmentConfig, are_thread_safe
from trainers.tasks.predictor import Predictor


@frozen(kw_only=True)
class StreamSpec:
    """Equal specs give equal samples. Picklable, since the workers are sent one."""

    datasets: tuple[Dataset, ...]
    """Each with ground truth; drawn with the probabilities that their weights give."""
    input_shape: tuple[int, ...]
    """Of the network, in voxels of whichever dataset a sample comes from."""
    output_shape: tuple[int, ...]
    """Of the network, in voxels; the block lies in the middle of the input."""
    predictor: Predictor
    augments: tuple[AugmentConfig, ...] = ()
    min_masked: float | None = None
    """Fraction of the output block, before augments, that the mask must cover."""
    clip_raw: bool = True
    """Whether raw outside of the ground truth's extent reads as 0."""
    seed: int
    batch_size: int
    """Samples of an iteration; they do not depend on it otherwise."""

    @property
    def thread_safe(self) -> bool:
        """Whether samples can be made in several threads of one process."""
        return are_thread_safe(self.augments)

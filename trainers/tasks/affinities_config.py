"""Whether a voxel and its neighbor belong to the same object."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import Attribute, field, frozen
from attrs.validators import min_len

from trainers.tasks.task_config import TaskConfig

if TYPE_CHECKING:
    import torch

    from trainers.tasks.loss import Loss
    from trainers.tasks.predictor import Predictor


def _offsets(_: object, __: Attribute[Any], offsets: tuple[tuple[int, ...], ...]) -> None:
    distinct_and_nonzero = len(set(offsets)) == len(offsets) and all(any(each) for each in offsets)
    if len({len(each) for each in offsets}) > 1 or not distinct_and_nonzero:
        raise ValueError(
            "must be different, nonzero offsets of equally many axes, such as "
            f"[[1, 0, 0], [0, 1, 0], [0, 0, 1]]; found {[list(each) for each in offsets]}"
        )


@frozen(kw_only=True)
class AffinitiesTaskConfig(TaskConfig):
    """One channel per offset: 1 where both ends lie in the same object, 0 elsewhere."""

    neighborhood: tuple[tuple[int, ...], ...] = field(validator=[min_len(1), _offsets])
    """Offsets in voxels, axes as in the volume; far and negative ones are fine."""

    @property
    def num_channels(self) -> int:
        return len(self.neighborhood)

    def build_predictor(self) -> Predictor:
        from trainers.tasks.affinities_predictor import AffinitiesPredictor

        return AffinitiesPredictor(self.neighborhood)

    def build_loss(self) -> Loss:
        from trainers.tasks.binary_cross_entropy_loss import BinaryCrossEntropyLoss

        return BinaryCrossEntropyLoss()

    def build_activation(self) -> torch.nn.Module:
        import torch

        return torch.nn.Sigmoid()

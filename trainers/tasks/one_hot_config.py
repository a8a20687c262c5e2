"""Which class a voxel belongs to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import Attribute, field, frozen
from attrs.validators import deep_iterable, min_len

from trainers.tasks.task_config import TaskConfig

if TYPE_CHECKING:
    import torch

    from trainers.tasks.loss import Loss
    from trainers.tasks.predictor import Predictor


def _distinct(_: object, __: Attribute[Any], classes: tuple[str, ...]) -> None:
    if len(set(classes)) != len(classes):
        raise ValueError(f"must be different names; found {list(classes)}")


@frozen(kw_only=True)
class OneHotTaskConfig(TaskConfig):
    """One channel per class: the probability that the voxel belongs to it."""

    classes: tuple[str, ...] = field(validator=[min_len(2), deep_iterable(min_len(1)), _distinct])
    """Names of the classes; ground truth holds their positions in this list, from 0 on."""

    @property
    def num_channels(self) -> int:
        return len(self.classes)

    def build_predictor(self) -> Predictor:
        from trainers.tasks.one_hot_predictor import OneHotPredictor

        return OneHotPredictor(self.classes)

    def build_loss(self) -> Loss:
        from trainers.tasks.cross_entropy_loss import CrossEntropyLoss

        return CrossEntropyLoss()

    def build_activation(self) -> torch.nn.Module:
        import torch

        return torch.nn.Softmax(dim=1)

"""Configs of what a network predicts. Light: safe to import on a login node."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from attrs import Attribute, field, frozen
from attrs.validators import deep_iterable, gt, min_len

if TYPE_CHECKING:
    import torch

    from trainers.tasks.losses import Loss
    from trainers.tasks.predictor import Predictor
    from trainers.tasks.task import Task


def _offsets(_: object, __: Attribute[Any], offsets: tuple[tuple[int, ...], ...]) -> None:
    distinct_and_nonzero = len(set(offsets)) == len(offsets) and all(any(each) for each in offsets)
    if len({len(each) for each in offsets}) > 1 or not distinct_and_nonzero:
        raise ValueError(
            "must be different, nonzero offsets of equally many axes, such as "
            f"[[1, 0, 0], [0, 1, 0], [0, 0, 1]]; found {[list(each) for each in offsets]}"
        )


def _distinct(_: object, __: Attribute[Any], classes: tuple[str, ...]) -> None:
    if len(set(classes)) != len(classes):
        raise ValueError(f"must be different names; found {list(classes)}")


@frozen(kw_only=True)
class TaskConfig(ABC):
    """The config of what a network predicts."""

    @property
    @abstractmethod
    def num_channels(self) -> int:
        """Number of channels of the prediction."""

    @abstractmethod
    def build_predictor(self) -> Predictor:
        """Return what makes targets from ground truth; import no torch."""

    @abstractmethod
    def build_loss(self) -> Loss: ...

    @abstractmethod
    def build_activation(self) -> torch.nn.Module:
        """Return the module that turns logits into the prediction."""

    def build(self) -> Task:
        from trainers.tasks.task import Task

        return Task(self)


@frozen(kw_only=True)
class AffinitiesTaskConfig(TaskConfig):
    """One affinity per offset: 1 where both voxels lie in the same object, 0 elsewhere."""

    neighborhood: tuple[tuple[int, ...], ...] = field(validator=[min_len(1), _offsets])
    """Offsets in voxels, z, y, x or y, x; long-range and negative ones are allowed."""

    @property
    def num_channels(self) -> int:
        return len(self.neighborhood)

    def build_predictor(self) -> Predictor:
        from trainers.tasks.affinities_predictor import AffinitiesPredictor

        return AffinitiesPredictor(self.neighborhood)

    def build_loss(self) -> Loss:
        from trainers.tasks.losses import BinaryCrossEntropyLoss

        return BinaryCrossEntropyLoss()

    def build_activation(self) -> torch.nn.Module:
        import torch

        return torch.nn.Sigmoid()


@frozen(kw_only=True)
class DistanceTaskConfig(TaskConfig):
    """One channel: tanh(distance / scale), positive in objects, negative in background (id 0)."""

    scale_nm: float = field(validator=gt(0))
    """The distance at which the target reaches 0.76."""

    @property
    def num_channels(self) -> int:
        return 1

    def build_predictor(self) -> Predictor:
        from trainers.tasks.distance_predictor import DistancePredictor

        return DistancePredictor(self.scale_nm)

    def build_loss(self) -> Loss:
        from trainers.tasks.losses import TanhMeanSquaredErrorLoss

        return TanhMeanSquaredErrorLoss()

    def build_activation(self) -> torch.nn.Module:
        import torch

        return torch.nn.Tanh()


@frozen(kw_only=True)
class OneHotTaskConfig(TaskConfig):
    """One channel per class: the probability that the voxel belongs to it."""

    classes: tuple[str, ...] = field(validator=[min_len(2), deep_iterable(min_len(1)), _distinct])
    """Names of the classes; ground truth holds their indices in this list, from 0."""

    @property
    def num_channels(self) -> int:
        return len(self.classes)

    def build_predictor(self) -> Predictor:
        from trainers.tasks.one_hot_predictor import OneHotPredictor

        return OneHotPredictor(self.classes)

    def build_loss(self) -> Loss:
        from trainers.tasks.losses import CrossEntropyLoss

        return CrossEntropyLoss()

    def build_activation(self) -> torch.nn.Module:
        import torch

        return torch.nn.Softmax(dim=1)

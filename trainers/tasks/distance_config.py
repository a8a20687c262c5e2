"""How far a voxel lies from the border of its object."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import field, frozen
from attrs.validators import gt

from trainers.tasks.task_config import TaskConfig

if TYPE_CHECKING:
    import torch

    from trainers.tasks.loss import Loss
    from trainers.tasks.predictor import Predictor


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
        from trainers.tasks.tanh_mean_squared_error_loss import TanhMeanSquaredErrorLoss

        return TanhMeanSquaredErrorLoss()

    def build_activation(self) -> torch.nn.Module:
        import torch

        return torch.nn.Tanh()

"""A task at work: targets, loss and activation."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from trainers.tasks.losses import Loss
    from trainers.tasks.predictor import Predictor
    from trainers.tasks.task_configs import TaskConfig


class Task:
    """Loads torch once `loss` or `activation` is asked for, not before."""

    def __init__(self, config: TaskConfig) -> None:
        self._config = config

    @cached_property
    def predictor(self) -> Predictor:
        return self._config.build_predictor()

    @cached_property
    def loss(self) -> Loss:
        return self._config.build_loss()

    @cached_property
    def activation(self) -> torch.nn.Module:
        return self._config.build_activation()

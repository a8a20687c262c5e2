"""The predictor, loss and activation of a task, built when they are first used."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from trainers.tasks.losses import Loss
    from trainers.tasks.predictor import Predictor
    from trainers.tasks.task_configs import TaskConfig


class Task:
    """A task; torch is imported when `loss` or `activation` is first used, so not by workers."""

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

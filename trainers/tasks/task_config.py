"""What every task config promises. Light: safe to import on a login node."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from attrs import frozen

if TYPE_CHECKING:
    import torch

    from trainers.tasks.loss import Loss
    from trainers.tasks.predictor import Predictor
    from trainers.tasks.task import Task


@frozen(kw_only=True)
class TaskConfig(ABC):
    """What a network is to predict."""

    @property
    @abstractmethod
    def num_channels(self) -> int:
        """Channels of the prediction."""

    @abstractmethod
    def build_predictor(self) -> Predictor:
        """Makes targets from ground truth; imports no torch."""

    @abstractmethod
    def build_loss(self) -> Loss: ...

    @abstractmethod
    def build_activation(self) -> torch.nn.Module:
        """Turns the logits of the network into the prediction."""

    def build(self) -> Task:
        from trainers.tasks.task import Task

        return Task(self)

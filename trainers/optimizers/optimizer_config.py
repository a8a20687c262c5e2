"""What every optimizer config promises. Light: safe to import on a login node."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import TYPE_CHECKING

from attrs import field, frozen
from attrs.validators import ge

from trainers.optimizers.linear_warm_up_schedule_config import LinearWarmUpScheduleConfig
from trainers.optimizers.schedule_config import ScheduleConfig

if TYPE_CHECKING:
    import torch


@frozen(kw_only=True)
class OptimizerConfig(ABC):
    """One of torch's optimizers, with torch's own defaults, and a schedule."""

    schedule: ScheduleConfig = field(
        default=LinearWarmUpScheduleConfig(iterations=1000, start_factor=0.01)
    )
    """Multiplies the trainer's learning rate."""
    weight_decay: float = field(default=0.0, validator=ge(0))

    @abstractmethod
    def build(
        self, parameters: Iterable[torch.nn.Parameter], learning_rate: float
    ) -> torch.optim.Optimizer:
        """An optimizer at the full learning rate; whoever steps it applies the schedule."""

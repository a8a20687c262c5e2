"""Stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from attrs import field, frozen
from attrs.validators import ge, lt

from trainers.optimizers.optimizer_config import OptimizerConfig

if TYPE_CHECKING:
    import torch


@frozen(kw_only=True)
class SGDConfig(OptimizerConfig):
    """`torch.optim.SGD`."""

    momentum: float = field(default=0.0, validator=[ge(0), lt(1)])
    nesterov: bool = False
    """Look ahead along the momentum."""

    def __attrs_post_init__(self) -> None:
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov: found true; needs a momentum above 0")

    def build(
        self, parameters: Iterable[torch.nn.Parameter], learning_rate: float
    ) -> torch.optim.Optimizer:
        import torch

        return torch.optim.SGD(
            parameters,
            lr=learning_rate,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
            nesterov=self.nesterov,
        )

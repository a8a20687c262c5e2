"""RAdam, the default."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from attrs import frozen

from trainers.optimizers.adaptive_optimizer_config import AdaptiveOptimizerConfig

if TYPE_CHECKING:
    import torch


@frozen(kw_only=True)
class RAdamConfig(AdaptiveOptimizerConfig):
    """`torch.optim.RAdam`: Adam that takes smaller steps while it knows little."""

    decoupled_weight_decay: bool = False
    """Weight decay as in AdamW."""

    def build(
        self, parameters: Iterable[torch.nn.Parameter], learning_rate: float
    ) -> torch.optim.Optimizer:
        import torch

        return torch.optim.RAdam(
            parameters,
            lr=learning_rate,
            betas=self.betas,
            eps=self.eps,
            weight_decay=self.weight_decay,
            decoupled_weight_decay=self.decoupled_weight_decay,
        )

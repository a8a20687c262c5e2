"""Adam."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from attrs import frozen

from trainers.optimizers.adaptive_optimizer_config import AdaptiveOptimizerConfig

if TYPE_CHECKING:
    import torch


@frozen(kw_only=True)
class AdamConfig(AdaptiveOptimizerConfig):
    """`torch.optim.Adam`."""

    def build(
        self, parameters: Iterable[torch.nn.Parameter], learning_rate: float
    ) -> torch.optim.Optimizer:
        import torch

        return torch.optim.Adam(
            parameters,
            lr=learning_rate,
            betas=self.betas,
            eps=self.eps,
            weight_decay=self.weight_decay,
        )

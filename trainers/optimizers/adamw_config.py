"""AdamW."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from attrs import field, frozen
from attrs.validators import ge

from trainers.optimizers.adaptive_optimizer_config import AdaptiveOptimizerConfig

if TYPE_CHECKING:
    import torch


@frozen(kw_only=True)
class AdamWConfig(AdaptiveOptimizerConfig):
    """`torch.optim.AdamW`: Adam whose weight decay is apart from the gradient."""

    weight_decay: float = field(default=0.01, validator=ge(0))

    def build(
        self, parameters: Iterable[torch.nn.Parameter], learning_rate: float
    ) -> torch.optim.Optimizer:
        import torch

        return torch.optim.AdamW(
            parameters,
            lr=learning_rate,
            betas=self.betas,
            eps=self.eps,
            weight_decay=self.weight_decay,
        )

"""The loss of channels between -1 and 1."""

from __future__ import annotations

import torch

from trainers.tasks.loss import Loss


class TanhMeanSquaredErrorLoss(Loss):
    """Squared difference between the tanh of the logits and the target."""

    def of_each(self, prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return (prediction.tanh() - target).square()

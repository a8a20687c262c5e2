"""The loss of channels that are each true or false."""

from __future__ import annotations

import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from trainers.tasks.loss import Loss


class BinaryCrossEntropyLoss(Loss):
    """Cross-entropy of the sigmoid of each channel."""

    def of_each(self, prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return binary_cross_entropy_with_logits(prediction, target, reduction="none")

"""The loss of channels of which one is true."""

from __future__ import annotations

import torch
from torch.nn.functional import cross_entropy

from trainers.tasks.loss import Loss


class CrossEntropyLoss(Loss):
    """Cross-entropy of the softmax over the channels; targets are probabilities.

    With class indices as targets torch's cross-entropy is not deterministic on CUDA.
    """

    def of_each(self, prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return cross_entropy(prediction, target, reduction="none").unsqueeze(1)

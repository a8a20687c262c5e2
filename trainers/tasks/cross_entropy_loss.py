"""The loss of channels of which one is true."""

from __future__ import annotations

import torch

from trainers.tasks.loss import Loss


class CrossEntropyLoss(Loss):
    """Cross-entropy of the softmax over the channels.

    Written out, because the forward pass of `nn.CrossEntropyLoss` is not deterministic on CUDA.
    """

    def of_each(self, prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return -(target * prediction.log_softmax(dim=1)).sum(dim=1, keepdim=True)

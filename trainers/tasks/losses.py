"""Losses of logits, weighted voxel by voxel."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy


class Loss(ABC):
    """A weighted mean over voxels, so that its scale does not depend on how many are masked."""

    def compute(
        self, prediction: torch.Tensor, target: torch.Tensor, weight: torch.Tensor
    ) -> torch.Tensor:
        """Return the loss of logits, a scalar; 0 if every weight is 0.

        All tensors are `[B, K, *block]`.
        """
        weighted = self.of_each(prediction, target) * weight
        return weighted.sum() / weight.sum().clamp(min=torch.finfo(weight.dtype).tiny)

    @abstractmethod
    def of_each(self, prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Return the loss per voxel, `[B, K, *block]`, or `[B, 1, *block]` if channels share it."""


class BinaryCrossEntropyLoss(Loss):
    """Binary cross-entropy of the sigmoid of each channel."""

    def of_each(self, prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return binary_cross_entropy_with_logits(prediction, target, reduction="none")


class CrossEntropyLoss(Loss):
    """Cross-entropy of the softmax over channels; targets are probabilities (one-hot).

    Not class indices: with these, torch's cross-entropy is not deterministic on CUDA.
    """

    def of_each(self, prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return cross_entropy(prediction, target, reduction="none").unsqueeze(1)


class TanhMeanSquaredErrorLoss(Loss):
    """Squared difference between the tanh of the logits and the target."""

    def of_each(self, prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return (prediction.tanh() - target).square()

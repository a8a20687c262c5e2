"""How wrong a prediction is."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch


class Loss(ABC):
    """A weighted mean over voxels, so that its size does not depend on how many are masked."""

    def compute(
        self, prediction: torch.Tensor, target: torch.Tensor, weight: torch.Tensor
    ) -> torch.Tensor:
        """The loss of logits, a scalar; 0 if every weight is 0. All arrays are `[B, K, *block]`."""
        weighted = self.of_each(prediction, target) * weight
        return weighted.sum() / weight.sum().clamp(min=torch.finfo(weight.dtype).tiny)

    @abstractmethod
    def of_each(self, prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """The loss of each voxel, `[B, K, *block]`, or `[B, 1, *block]` if channels share one."""

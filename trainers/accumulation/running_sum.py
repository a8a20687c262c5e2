"""Gradients that are added up as they come."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING

import torch

from trainers.accumulation.accumulation import Accumulation, Backward
from trainers.process_group import ProcessGroup

if TYPE_CHECKING:
    from trainers.architectures.model import Model


class RunningSum(Accumulation):
    """One micro-batch after the other on each rank, then the mean over the ranks.

    How sums are rounded depends on the number of ranks.
    """

    def __init__(self, model: Model, group: ProcessGroup) -> None:
        self.gradient_divisor = group.size
        self._group = group
        self._replica = group.replicate(model)

    def run(self, iteration: int, weights: Sequence[float], backward: Backward) -> float:
        mean = self._group.mean(sum(weights))
        losses = []
        for position, weight in enumerate(weights):
            is_last = position == len(weights) - 1
            with nullcontext() if is_last else self._group.without_reduction(self._replica):
                losses.append(backward(self._replica, position, weight / mean if mean else 1.0))
        return self._group.mean(sum(torch.stack(losses).tolist()))

"""What every way to come by the gradients of a batch promises."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING

import torch

from trainers.distributed.process_group import ProcessGroup

if TYPE_CHECKING:
    from trainers.architectures.model import Model


Backward = Callable[[torch.nn.Module, int, float], torch.Tensor]
"""Puts one of the rank's micro-batches, told by its position, through a network and back.

It multiplies the loss by a factor, before it goes back, and gives what it has become then.
"""


class GradientAccumulation(ABC):
    """Finds the gradients of a batch that is shared out to ranks and taken in micro-batches."""

    gradient_divisor: int = 1
    """The gradients that `backward` leaves are this many times those of the whole batch."""

    @abstractmethod
    def run(self, iteration: int, weights: Sequence[float], backward: Backward) -> float:
        """Leave in the parameters the gradients of the loss of the whole batch; gives that loss.

        All ranks call it, and find the same. A loss is a weighted mean over voxels, so that each
        micro-batch counts by its share of the weights of the batch.

        Args:
            weights: The sums of the weights of each of this rank's micro-batches.
        """


class SequentialAccumulation(GradientAccumulation):
    """One micro-batch after the other on each rank, then the mean over the ranks.

    How sums are rounded depends on the number of ranks.
    """

    def __init__(self, model: Model, group: ProcessGroup) -> None:
        self.gradient_divisor = group.world_size
        self._group = group
        self._replica = group.wrap_ddp(model)

    def run(self, iteration: int, weights: Sequence[float], backward: Backward) -> float:
        mean = self._group.all_reduce_mean(sum(weights))
        losses = []
        for position, weight in enumerate(weights):
            is_last = position == len(weights) - 1
            with nullcontext() if is_last else self._group.no_sync(self._replica):
                losses.append(backward(self._replica, position, weight / mean if mean else 1.0))
        return self._group.all_reduce_mean(sum(torch.stack(losses).tolist()))

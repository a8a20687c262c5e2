"""Gradient accumulation: the gradients of a batch from micro-batches, on all ranks together."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING

import torch
from attrs import frozen

from trainers.distributed.process_group import ProcessGroup

if TYPE_CHECKING:
    from trainers.architectures.model import Model


Backward = Callable[[torch.nn.Module, int, float], torch.Tensor]
"""Forward and backward pass of the micro-batch at a position among those of this rank.

Called with the network, the position and a factor; multiplies the loss by the factor before the
backward pass, and returns the product.
"""


@frozen
class BatchResult:
    """What the forward and backward passes of a batch have come to."""

    loss: float
    """Of the whole batch; the same on all ranks."""
    gradient_norm: float
    """L2 norm of the gradients of all weights together; not finite if any of them is not. They may
    be scaled."""


class GradientAccumulation(ABC):
    """Finds the gradients of a batch that ranks share and that is processed in micro-batches.

    Floating-point addition is not associative: the order in which micro-batches and ranks are added
    up decides about the last bits. Implementations differ above all in that order; see
    `docs/decisions/003-exact-on-any-number-of-ranks.md`.
    """

    gradient_divisor: int = 1
    """Gradients of activations, such as the logits, are this many times those of the batch's loss.

    Gradients of parameters are not, once `run` has returned.
    """

    @abstractmethod
    def run(self, iteration: int, weights: Sequence[float], backward: Backward) -> BatchResult:
        """Leave the gradients of the whole batch's loss in the parameters; return that loss.

        Called on all ranks; gradients and result are the same on all of them. Loss and norm come
        from the device in one transfer, since each would wait for it. A loss is a weighted
        mean over voxels, so each micro-batch counts by its share of the weights of the batch.

        Args:
            weights: The sum of the voxel weights of each of this rank's micro-batches.
        """


class SequentialAccumulation(GradientAccumulation):
    """One micro-batch after the other on each rank, then DDP's all-reduce to the mean over ranks.

    How sums are rounded depends on the number of ranks; `TreeAccumulation` avoids that.
    """

    def __init__(self, model: Model, group: ProcessGroup) -> None:
        # DDP averages the gradients of parameters only.
        self.gradient_divisor = group.world_size
        self._group = group
        self._replica = group.wrap_ddp(model)
        self._parameters = list(model.parameters())

    def run(self, iteration: int, weights: Sequence[float], backward: Backward) -> BatchResult:
        mean = self._group.all_reduce_mean(sum(weights))
        losses = []
        for position, weight in enumerate(weights):
            is_last = position == len(weights) - 1
            # One all-reduce per batch, in the last backward pass, instead of one per micro-batch.
            with nullcontext() if is_last else self._group.no_sync(self._replica):
                losses.append(backward(self._replica, position, weight / mean if mean else 1.0))
        gradients = [each.grad for each in self._parameters if each.grad is not None]
        found = torch.stack([*losses, *torch._foreach_norm(gradients)]).tolist()
        loss = sum(found[: len(losses)])
        return BatchResult(self._group.all_reduce_mean(loss), math.hypot(*found[len(losses) :]))

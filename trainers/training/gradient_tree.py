"""Tree reduction of gradients: the same bits on any power of two of ranks.

Floating-point addition is not associative, so a sum has reproducible bits only in a fixed order.
The order here is pairwise (tree) summation: the micro-batches of a batch are the leaves of a binary
tree that depends on their number alone. Each rank owns a whole sub-tree, and the upper levels are
reduced between pairs of ranks, so the number of ranks decides who adds but not in which order.
Do not replace it by a flat sum or a plain all-reduce, whose order depends on the world size; see
`docs/decisions/003-exact-on-any-number-of-ranks.md`. Pairwise summation also keeps the rounding
error at O(log n) instead of O(n) (Higham 1993, "The accuracy of floating point summation").
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch

from trainers.distributed.process_group import ProcessGroup
from trainers.training.gradient_accumulation import Backward, GradientAccumulation
from trainers.training.random_state import RandomState

T = TypeVar("T")


def tree_reduce(terms: range, term: Callable[[int], T], combine: Callable[[T, T], T]) -> T:
    """Reduce at least one term by a balanced binary tree, and return the result.

    Depth first, so that at most one partial result per level is alive: log2(n) + 1 for n terms.

    Args:
        term: Returns the term at an index.
        combine: May reuse the memory of both of its arguments.
    """
    if len(terms) == 1:
        return term(terms[0])
    # Halves from the top: with a power of two of ranks each rank's terms are exactly one sub-tree.
    middle = (len(terms) + 1) // 2
    first = tree_reduce(terms[:middle], term, combine)
    return combine(first, tree_reduce(terms[middle:], term, combine))


def tree_sum(values: Sequence[float]) -> float:
    """Return the pairwise sum of at least one value, in the order of the gradients' tree."""
    return tree_reduce(range(len(values)), lambda index: values[index], float.__add__)


class FlatTensors:
    """One vector for tensors of given shapes, in the narrowest type from float32 up that fits all.

    One vector makes one all-reduce of gradients and buffers together.

    Args:
        like: At least one tensor.
    """

    def __init__(self, like: Sequence[torch.Tensor]) -> None:
        dtype = reduce(torch.promote_types, (each.dtype for each in like), torch.float32)
        sizes = [each.numel() for each in like]
        self.vector = torch.empty(sum(sizes), dtype=dtype, device=like[0].device)
        self.parts = [
            part.view(each.shape)
            for part, each in zip(torch.split(self.vector, sizes), like, strict=True)
        ]

    def set(self, tensors: Sequence[torch.Tensor | None]) -> None:
        """Copy tensors into the vector; zeros for None."""
        for part, tensor in zip(self.parts, tensors, strict=True):
            if tensor is None:
                part.zero_()
            else:
                part.copy_(tensor)


class BufferChanges:
    """Lets every micro-batch of an iteration start from the same buffers.

    Running statistics of batch normalization, say, would otherwise depend on which micro-batches
    a rank has processed before.
    """

    def __init__(self, model: torch.nn.Module) -> None:
        self._model = model
        self._start: list[torch.Tensor] = []

    def save(self) -> None:
        """Remember the buffers that forward passes start from."""
        self._start = [buffer.clone() for buffer in self._model.buffers()]

    def restore(self) -> None:
        """Set the buffers to the saved ones."""
        for buffer, start in zip(self._model.buffers(), self._start, strict=True):
            buffer.copy_(start)

    def changes(self, dtype: torch.dtype) -> list[torch.Tensor]:
        """Return each buffer minus the saved one."""
        changes = []
        for buffer, start in zip(self._model.buffers(), self._start, strict=True):
            change = buffer.to(dtype) - start.to(dtype)
            changes.append(change.masked_fill(buffer == start, 0))  # inf - inf is NaN
        return changes

    def apply(self, changes: Sequence[torch.Tensor]) -> None:
        """Set the buffers to the saved ones plus changes, rounded where buffers are integers."""
        for buffer, start, change in zip(self._model.buffers(), self._start, changes, strict=True):
            rounded = change if start.is_floating_point() else change.round()
            buffer.copy_(start + rounded.to(start.dtype))


class TreeAccumulation(GradientAccumulation):
    """Tree reduction over the micro-batches of a batch; each rank has a sub-tree.

    Each micro-batch starts from random states and buffers that do not depend on the rank. Gradients
    and changes of buffers are reduced by the same tree.

    Args:
        num_micro_batches: Micro-batches of a batch, over all ranks; the world size is a power of
            two that divides it.
    """

    def __init__(
        self, model: torch.nn.Module, group: ProcessGroup, *, num_micro_batches: int, seed: int
    ) -> None:
        self._model = model
        self._group = group
        self._num_micro_batches = num_micro_batches
        self._seed = seed
        self._local = group.local_slice(num_micro_batches)
        self._parameters = [each for each in model.parameters() if each.requires_grad]
        self._buffers = BufferChanges(model)
        self._spare: list[FlatTensors] = []

    def run(self, iteration: int, weights: Sequence[float], backward: Backward) -> float:
        shares = self._shares(weights)
        losses: list[torch.Tensor] = []
        used = np.zeros(len(self._parameters))

        def micro_batch(index: int) -> FlatTensors:
            RandomState.of_micro_batch(self._seed, iteration, index).apply()
            losses.append(backward(self._model, index - self._local.start, shares[index]))
            return self._take_result(used)

        for parameter in self._parameters:
            parameter.grad = None
        with torch.no_grad():
            self._buffers.save()
        total = tree_reduce(self._local, micro_batch, self._add)
        self._group.tree_all_reduce_(total.vector)
        totals = self._group.all_reduce_sum(
            np.concatenate([self._zero_padded(torch.stack(losses).tolist()), used])
        )
        self._apply(total, totals[self._num_micro_batches :] > 0)
        return tree_sum(totals[: self._num_micro_batches].tolist())

    def _shares(self, weights: Sequence[float]) -> list[float]:
        """Return the share of the batch's weights of each micro-batch."""
        all_weights = self._group.all_reduce_sum(self._zero_padded(weights)).tolist()
        total = tree_sum(all_weights)
        return [weight / total if total else 1.0 for weight in all_weights]

    def _zero_padded(self, values: Sequence[float]) -> npt.NDArray[np.float64]:
        """Return one entry per micro-batch of the batch, 0 for those of other ranks.

        An all-reduce of such vectors gathers the values: adding zeros is exact in any order.
        """
        padded = np.zeros(self._num_micro_batches)
        padded[self._local.start : self._local.stop] = values
        return padded

    @torch.no_grad()
    def _take_result(self, used: npt.NDArray[np.float64]) -> FlatTensors:
        """Move gradients and changes of buffers of one micro-batch to a vector, and reset both."""
        result = self._spare.pop() if self._spare else self._new_tensors()
        result.set(
            [
                *(parameter.grad for parameter in self._parameters),
                *self._buffers.changes(result.vector.dtype),
            ]
        )
        for position, parameter in enumerate(self._parameters):
            used[position] += parameter.grad is not None
            parameter.grad = None
        self._buffers.restore()
        return result

    def _new_tensors(self) -> FlatTensors:
        return FlatTensors([*self._parameters, *self._model.buffers()])

    def _add(self, one: FlatTensors, other: FlatTensors) -> FlatTensors:
        one.vector += other.vector
        self._spare.append(other)
        return one

    @torch.no_grad()
    def _apply(self, total: FlatTensors, used: npt.NDArray[np.bool_]) -> None:
        num_parameters = len(self._parameters)
        for parameter, gradient, is_used in zip(
            self._parameters, total.parts[:num_parameters], used, strict=True
        ):
            # None as in plain training: an optimizer skips parameters that no sample has used.
            parameter.grad = gradient.to(parameter.dtype) if is_used else None
        self._buffers.apply(
            [change / self._num_micro_batches for change in total.parts[num_parameters:]]
        )
        # The gradients are views of this vector; `run` drops them before the vector is reused.
        self._spare.append(total)

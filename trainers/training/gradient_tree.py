"""Gradients that are added up in the same order on any number of ranks."""

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


def fold(terms: range, term: Callable[[int], T], combine: Callable[[T, T], T]) -> T:
    """Combine at least one term, in order and depth first: few results are alive at a time.

    Args:
        term: Gives the term at an index.
        combine: May re-use both of its arguments.
    """
    if len(terms) == 1:
        return term(terms[0])
    middle = (len(terms) + 1) // 2
    first = fold(terms[:middle], term, combine)
    return combine(first, fold(terms[middle:], term, combine))


def tree_sum(values: Sequence[float]) -> float:
    """The sum of at least one value."""
    return fold(range(len(values)), lambda index: values[index], float.__add__)


class FlatTensors:
    """Room for tensors of given shapes, in the narrowest type from float32 on that fits all.

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
        """Copy tensors in; where there is none, zeros."""
        for part, tensor in zip(self.parts, tensors, strict=True):
            if tensor is None:
                part.zero_()
            else:
                part.copy_(tensor)


class BufferChanges:
    """Lets every forward pass of an iteration start from the same buffers."""

    def __init__(self, model: torch.nn.Module) -> None:
        self._model = model
        self._start: list[torch.Tensor] = []

    def begin(self) -> None:
        """Keep the buffers that forward passes are to start from."""
        self._start = [buffer.clone() for buffer in self._model.buffers()]

    def undo(self) -> None:
        """Put back the buffers that were kept."""
        for buffer, start in zip(self._model.buffers(), self._start, strict=True):
            buffer.copy_(start)

    def found(self, dtype: torch.dtype) -> list[torch.Tensor]:
        """By how much each buffer is more than the one that was kept."""
        changes = []
        for buffer, start in zip(self._model.buffers(), self._start, strict=True):
            change = buffer.to(dtype) - start.to(dtype)
            changes.append(change.masked_fill(buffer == start, 0))  # also where both are infinite
        return changes

    def apply(self, changes: Sequence[torch.Tensor]) -> None:
        """Set the buffers to those that were kept plus changes, rounded to whole numbers if they
        hold such."""
        for buffer, start, change in zip(self._model.buffers(), self._start, changes, strict=True):
            rounded = change if start.is_floating_point() else change.round()
            buffer.copy_(start + rounded.to(start.dtype))


class TreeAccumulation(GradientAccumulation):
    """Micro-batches are the leaves of a tree of sums; each rank has a sub-tree.

    Every leaf starts from random states and buffers that are the same on any rank. Gradients and
    the changes of buffers go up the same tree.

    Args:
        num_leaves: Of a batch; the number of ranks is a power of two that divides it.
    """

    def __init__(
        self, model: torch.nn.Module, group: ProcessGroup, *, num_leaves: int, seed: int
    ) -> None:
        self._model = model
        self._group = group
        self._num_leaves = num_leaves
        self._seed = seed
        self._own = group.local_slice(num_leaves)
        self._parameters = [each for each in model.parameters() if each.requires_grad]
        self._buffers = BufferChanges(model)
        self._spare: list[FlatTensors] = []

    def run(self, iteration: int, weights: Sequence[float], backward: Backward) -> float:
        shares = self._shares(weights)
        losses: list[torch.Tensor] = []
        used = np.zeros(len(self._parameters))

        def leaf(index: int) -> FlatTensors:
            RandomState.of_leaf(self._seed, iteration, index).apply()
            losses.append(backward(self._model, index - self._own.start, shares[index]))
            return self._take_result(used)

        for parameter in self._parameters:
            parameter.grad = None
        with torch.no_grad():
            self._buffers.begin()
        total = fold(self._own, leaf, self._add)
        self._group.tree_all_reduce_(total.vector)
        told = self._group.all_reduce_sum(
            np.concatenate([self._among_all(torch.stack(losses).tolist()), used])
        )
        self._apply(total, told[self._num_leaves :] > 0)
        return tree_sum(told[: self._num_leaves].tolist())

    def _shares(self, weights: Sequence[float]) -> list[float]:
        """The part of the weights of the batch that each leaf has."""
        all_weights = self._group.all_reduce_sum(self._among_all(weights)).tolist()
        total = tree_sum(all_weights)
        return [weight / total if total else 1.0 for weight in all_weights]

    def _among_all(self, values: Sequence[float]) -> npt.NDArray[np.float64]:
        """Values of this rank's leaves, and zeros for those of others: adding these is exact."""
        among = np.zeros(self._num_leaves)
        among[self._own.start : self._own.stop] = values
        return among

    @torch.no_grad()
    def _take_result(self, used: npt.NDArray[np.float64]) -> FlatTensors:
        """What one leaf has left; then nothing is left of it."""
        result = self._spare.pop() if self._spare else self._new_tensors()
        result.set(
            [
                *(parameter.grad for parameter in self._parameters),
                *self._buffers.found(result.vector.dtype),
            ]
        )
        for position, parameter in enumerate(self._parameters):
            used[position] += parameter.grad is not None
            parameter.grad = None
        self._buffers.undo()
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
            parameter.grad = gradient.to(parameter.dtype) if is_used else None
        self._buffers.apply([change / self._num_leaves for change in total.parts[num_parameters:]])
        self._spare.append(total)  # the gradients are part of it; they are gone by its next use

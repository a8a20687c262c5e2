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
from trainers.training.gradient_accumulation import Backward, BatchResult, GradientAccumulation
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
    """Vectors for tensors of given shapes: one for real numbers, one for integers if there are any.

    Few vectors make few all-reduces of gradients and buffers together. Real numbers are in the
    narrowest type from float32 up that fits them all, complex ones as pairs of them. Integers and
    booleans are int64, since floats are not exact beyond 2**24 or 2**53.

    Args:
        like: At least one tensor.
    """

    def __init__(self, like: Sequence[torch.Tensor]) -> None:
        real = [each for each in like if not is_integer(each)]
        integers = [each for each in like if is_integer(each)]
        dtype = reduce(torch.promote_types, (real_view(each).dtype for each in real), torch.float32)
        self.vector, real_parts = _vector(real, dtype, like[0].device)
        self.integers, integer_parts = _vector(integers, torch.int64, like[0].device)
        parts = {True: iter(integer_parts), False: iter(real_parts)}
        self.parts = [next(parts[is_integer(each)]) for each in like]

    def set(self, tensors: Sequence[torch.Tensor | None]) -> None:
        """Copy tensors into the vectors; zeros for None."""
        for part, tensor in zip(self.parts, tensors, strict=True):
            if tensor is None:
                part.zero_()
            else:
                part.copy_(real_view(tensor))

    def add_(self, other: FlatTensors) -> None:
        self.vector += other.vector
        self.integers += other.integers


def is_integer(tensor: torch.Tensor) -> bool:
    """Return whether a tensor holds integers or booleans."""
    return not (tensor.is_floating_point() or tensor.is_complex())


def real_view(tensor: torch.Tensor) -> torch.Tensor:
    """Return complex numbers as pairs of real ones, and other tensors as they are."""
    return torch.view_as_real(tensor.resolve_conj()) if tensor.is_complex() else tensor


def _vector(
    like: Sequence[torch.Tensor], dtype: torch.dtype, device: torch.device
) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Return a vector, and its parts in the shapes of the tensors."""
    shapes = [real_view(each).shape for each in like]
    sizes = [shape.numel() for shape in shapes]
    vector = torch.empty(sum(sizes), dtype=dtype, device=device)
    parts = torch.split(vector, sizes) if sizes else ()
    return vector, [part.view(shape) for part, shape in zip(parts, shapes, strict=True)]


class BufferChanges:
    """Lets every micro-batch of an iteration start from the same buffers.

    Running statistics of batch normalization, say, would otherwise depend on which micro-batches
    a rank has processed before.
    """

    def __init__(self, model: torch.nn.Module) -> None:
        self._modules = list(model.modules())
        self._start: list[torch.Tensor] = []

    def save(self) -> None:
        """Remember the buffers that forward passes start from."""
        self._start = [buffer.clone() for buffer in self.present()]

    def restore(self) -> None:
        """Set the buffers to the saved ones."""
        for buffer, start in zip(self.present(), self._start, strict=True):
            buffer.copy_(start)

    def changes(self, dtype: torch.dtype) -> list[torch.Tensor]:
        """Return each buffer minus the saved one: real numbers in `dtype`, integers in int64.

        Booleans count as 0 and 1. A difference of integers that is beyond int64 wraps around.
        """
        changes = []
        for buffer, start in zip(self.present(), self._start, strict=True):
            wide = torch.int64 if is_integer(start) else dtype
            now, before = real_view(buffer).to(wide), real_view(start).to(wide)
            changes.append((now - before).masked_fill(now == before, 0))  # inf - inf is NaN
        return changes

    def apply_mean(self, totals: Sequence[torch.Tensor], number: int) -> None:
        """Set the buffers to the saved ones plus the mean of changes, given their sums.

        Means are rounded where buffers are integers, halves to even; a boolean becomes what most of
        the changes make of it.
        """
        for buffer, start, total in zip(self.present(), self._start, totals, strict=True):
            if is_integer(start):
                buffer.copy_(start.to(torch.int64) + _rounded_quotient(total, number))
            else:
                now = real_view(start) + (total / number).to(real_view(start).dtype)
                buffer.copy_(torch.view_as_complex(now) if start.is_complex() else now)

    def present(self) -> list[torch.Tensor]:
        """Return what `Module.buffers` yields, at a tenth of its price.

        Modules may replace their buffers in forward passes, so that these cannot be remembered.
        """
        found: dict[int, torch.Tensor] = {}
        for module in self._modules:
            for buffer in module._buffers.values():
                if buffer is not None:
                    found[id(buffer)] = buffer
        return list(found.values())


def _rounded_quotient(total: torch.Tensor, number: int) -> torch.Tensor:
    """Divide integers exactly, halves to even: a float would lose the last digits of large ones."""
    quotient = torch.div(total, number, rounding_mode="floor")
    twice = 2 * (total - quotient * number)
    return quotient + ((twice > number) | ((twice == number) & (quotient % 2 == 1)))


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
        self._num_gradients = sum(real_view(each).numel() for each in self._parameters)
        self._buffers = BufferChanges(model)
        self._spare: list[FlatTensors] = []

    def run(self, iteration: int, weights: Sequence[float], backward: Backward) -> BatchResult:
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
        if len(total.integers):
            self._group.tree_all_reduce_(total.integers)
        norm = torch.linalg.vector_norm(total.vector[: self._num_gradients])
        *local, gradient_norm = torch.stack([*losses, norm.to(losses[0])]).tolist()
        totals = self._group.all_reduce_sum(np.concatenate([self._zero_padded(local), used]))
        self._apply(total, totals[self._num_micro_batches :] > 0)
        return BatchResult(tree_sum(totals[: self._num_micro_batches].tolist()), gradient_norm)

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
        return FlatTensors([*self._parameters, *self._buffers.present()])

    def _add(self, one: FlatTensors, other: FlatTensors) -> FlatTensors:
        one.add_(other)
        self._spare.append(other)
        return one

    @torch.no_grad()
    def _apply(self, total: FlatTensors, used: npt.NDArray[np.bool_]) -> None:
        num_parameters = len(self._parameters)
        for parameter, gradient, is_used in zip(
            self._parameters, total.parts[:num_parameters], used, strict=True
        ):
            # None as in plain training: an optimizer skips parameters that no sample has used.
            parameter.grad = _as_gradient(gradient, parameter) if is_used else None
        self._buffers.apply_mean(total.parts[num_parameters:], self._num_micro_batches)
        # The gradients are views of this vector; `run` drops them before the vector is reused.
        self._spare.append(total)


def _as_gradient(total: torch.Tensor, parameter: torch.Tensor) -> torch.Tensor:
    if parameter.is_complex():
        return torch.complex(total[..., 0], total[..., 1]).to(parameter.dtype)
    return total.to(parameter.dtype)

"""Non-finite steps: NaN or infinity in loss, gradients or weights, and the iterations left out."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt
import torch
from attrs import define, frozen

from trainers.errors import CheckpointError, NonFiniteError
from trainers.run.atomic_write import atomic_write

if TYPE_CHECKING:
    from trainers.distributed.process_group import ProcessGroup
    from trainers.run.run_folder import RunFolder
    from trainers.stream.sample import Sample

MAX_LEFT_OUT_IN_A_ROW = 10
"""After so many the weights, or the network's own state, are to blame and no longer the batches."""

_NUM_NAMES = 3


@frozen
class NonFinite:
    """What is not finite in an iteration, whose optimizer step was therefore not taken."""

    part: Literal["loss", "gradients", "weights"]
    """The first of weights, loss and gradients: each spoils those after it."""
    description: str
    micro_batches: tuple[int, ...] = ()
    """Positions of this rank's micro-batches whose loss is not finite."""


LEFT_OUT = NonFinite("loss", "it was not finite before the run went back")
"""The reason in an iteration that a rewind has left out; nothing was computed."""


@define
class NonFiniteStepError(NonFiniteError):
    """An iteration cannot be completed."""

    message: str
    iteration: int
    """The one to leave out: the present one, or the one before if it has spoiled the weights."""
    is_state_finite: bool
    """Whether trainer, network and optimizer are as before the iteration, and finite."""
    goes_back: bool
    """Whether to go back to the last good checkpoint, and leave the iteration out."""

    def __str__(self) -> str:
        return self.message


def find_non_finite(
    model: torch.nn.Module, loss: float, losses: Sequence[float]
) -> NonFinite | None:
    """Return what is not finite after a backward pass; None if all is, whatever the norm was.

    Slow: called only once loss or norm of the gradients is not finite. The squares of large
    gradients overflow in a norm.

    Args:
        losses: Of this rank's micro-batches.
    """
    weights = _spoiled(model, "data")
    if weights:
        return NonFinite("weights", f"weights are not finite: {_listed(weights)}")
    if not math.isfinite(loss):
        bad = tuple(index for index, each in enumerate(losses) if not math.isfinite(each))
        return NonFinite("loss", f"the loss is {loss}", bad)
    gradients = _spoiled(model, "grad")
    if gradients:
        description = f"the loss is {loss:g}, but gradients are not finite: {_listed(gradients)}"
        return NonFinite("gradients", description)
    return None


def _spoiled(model: torch.nn.Module, attribute: Literal["data", "grad"]) -> list[str]:
    """Return the names of trained parameters of which the values or gradients are not finite."""
    found = []
    for name, parameter in model.named_parameters():
        tensor: torch.Tensor | None = getattr(parameter, attribute)
        if parameter.requires_grad and tensor is not None and not torch.isfinite(tensor).all():
            found.append(name)
    return found


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _NUM_NAMES
    return ", ".join(names[:_NUM_NAMES]) + (f" and {more} more" if more > 0 else "")


def suspicious_samples(
    found: NonFinite, samples: Sequence[Sample], micro_batch_size: int
) -> list[str]:
    """Describe the samples of this rank that may be to blame: dataset, place, and range of raw.

    Those with values that are not finite; or else those of the micro-batches whose loss is not; or
    else all, if no rank has such a loss.
    """
    blamed = [each for each in samples if not all(map(_is_finite, (each.raw, each.target)))]
    if not blamed:
        blamed = [
            each
            for index, each in enumerate(samples)
            if found.part != "loss" or index // micro_batch_size in found.micro_batches
        ]
    return [_described(each) for each in blamed]


def _is_finite(values: npt.NDArray[np.generic]) -> bool:
    return values.dtype.kind != "f" or bool(np.isfinite(values).all())


def _described(sample: Sample) -> str:
    voxel = ", ".join(map(str, sample.begin))
    place = ", ".join(f"{each:g}" for each in sample.begin_nm)
    raw = sample.raw
    return (
        f"dataset {sample.dataset!r} at voxel ({voxel}), ({place}) nm, raw in "
        f"{raw.min():g}..{raw.max():g}"
    )


def num_left_out_before(iteration: int, left_out: Iterable[int]) -> int:
    """Return how many iterations in a row are left out directly before this one."""
    earlier, number = set(left_out), 0
    while iteration - 1 - number in earlier:
        number += 1
    return number


def agree_on_left_out(content: bytes | None, ranks: ProcessGroup) -> frozenset[int]:
    """Return the iterations that rewinds have left out, the same on all ranks; all call this.

    Args:
        content: Of the record of them, on rank 0; None if there is none.

    Raises:
        CheckpointError: The record is damaged.
    """
    recorded: list[int] = []
    if content is not None:
        try:
            recorded = json.loads(content)["left_out"]
        except (ValueError, TypeError, KeyError) as error:
            raise CheckpointError(
                f"left_out.json does not list the iterations that the run leaves out: {error}"
            ) from error
    number = ranks.broadcast_from_rank0(len(recorded))
    recorded = recorded or [0] * number
    return frozenset(ranks.broadcast_from_rank0(each) for each in recorded)


def record_left_out(folder: RunFolder, left_out: Iterable[int]) -> None:
    """Record durably which iterations the run leaves out; called before it goes back."""
    with atomic_write(folder.left_out, fence=folder.fence) as file:
        file.write(json.dumps({"left_out": sorted(left_out)}).encode())

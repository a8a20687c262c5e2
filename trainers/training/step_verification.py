"""Compute a step twice from the same state, and compare the bits: a node may compute wrongly.

Cheap to ask, since steps are reproducible: any difference is a fault of memory, CPU or GPU, or of
an operation that is not deterministic, which `watch_nondeterminism` reports.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from attrs import define, frozen

from trainers.checkpoints.state_encoder import StateEncoder
from trainers.errors import NodeFaultError
from trainers.training.random_state import RandomState
from trainers.training.run_parts import copied

if TYPE_CHECKING:
    from trainers.distributed.process_group import ProcessGroup
    from trainers.training.training_step import StepResult, TrainingStep

logger = logging.getLogger(__name__)

_NUM_NAMES = 4


@define
class VerificationError(NodeFaultError):
    """A step came out differently when it was computed again."""

    message: str
    verified_iteration: int
    """Completed iterations up to which the run is trusted."""

    def __str__(self) -> str:
        return self.message


class StepVerification:
    """Verifies every so many steps of a run; between them it does nothing.

    Needs memory for two copies of network, optimizer and gradients while it verifies.

    Args:
        every: Verify each multiple of it, counted in completed iterations.
        verified_iteration: Completed iterations up to which the run is trusted so far.
    """

    def __init__(self, every: int, verified_iteration: int, ranks: ProcessGroup) -> None:
        self.verified_iteration = verified_iteration
        self._every = every
        self._ranks = ranks
        self._is_cost_told = False

    def take(
        self,
        iteration: int,
        model: torch.nn.Module,
        optimizer: torch.optim.Optimizer,
        step: TrainingStep,
        take: Callable[[], StepResult],
    ) -> StepResult:
        """Take a step, and take it again if it is due; all ranks call this together.

        Raises:
            VerificationError: Some rank has found other bits the second time.
        """
        if (iteration + 1) % self._every:
            return take()
        began = time.perf_counter()
        before = _StateBefore.of(model, optimizer, step)
        copied_at = time.perf_counter()
        result = take()
        first = copied(_outcome(model, optimizer, step, result))
        once_s = time.perf_counter() - copied_at
        before.restore(model, optimizer, step)
        result = take()
        differing = differences(first, _outcome(model, optimizer, step, result))
        if self._ranks.any_rank(bool(differing)):
            device = next(model.parameters()).device
            message = self._message(iteration, differing, device)
            raise VerificationError(message, self.verified_iteration)
        self.verified_iteration = iteration + 1
        self._tell_cost(time.perf_counter() - began - once_s, once_s)
        return result

    def _message(self, iteration: int, differing: list[str], device: torch.device) -> str:
        more = len(differing) - _NUM_NAMES
        named = "; ".join(differing[:_NUM_NAMES]) + (f"; and {more} more" if more > 0 else "")
        others = (
            f", one of {self._ranks.world_size} ranks that share their sums"
            if self._ranks.world_size > 1
            else ""
        )
        return (
            f"iteration {iteration} was computed twice from the same state, with different results "
            f"on {_name_of(device)}{others}: {named or 'those of another rank'}. What came after "
            f"the first {self.verified_iteration} iterations is not trusted"
        )

    def _tell_cost(self, extra_s: float, once_s: float) -> None:
        if not self._is_cost_told:
            self._is_cost_told = True
            logger.info(
                "verifying a step takes %.2f s more; every %d iterations that is %.2f %% of a step",
                extra_s,
                self._every,
                100 * extra_s / once_s / self._every,
            )


@frozen
class _StateBefore:
    """A copy of everything that a step starts from."""

    tensors: dict[str, torch.Tensor]
    optimizer: dict[str, Any]
    step: dict[str, Any]
    random: RandomState

    @classmethod
    def of(
        cls, model: torch.nn.Module, optimizer: torch.optim.Optimizer, step: TrainingStep
    ) -> _StateBefore:
        return cls(
            copied(_tensors_of(model)),
            copied(optimizer.state_dict()),
            copied(step.state_dict()),
            RandomState.current(),
        )

    def restore(
        self, model: torch.nn.Module, optimizer: torch.optim.Optimizer, step: TrainingStep
    ) -> None:
        """Set everything to the copies, which belong to the optimizer from then on."""
        for name, tensor in _tensors_of(model).items():
            tensor.copy_(self.tensors[name])
        optimizer.load_state_dict(self.optimizer)
        step.load_state_dict(self.step)
        self.random.apply()


def _tensors_of(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Return parameters and buffers, those that are not saved as well."""
    # `data`: to autograd, setting them back is no change of weights by the network.
    named = (*model.named_parameters(), *model.named_buffers())
    return {name: tensor.data for name, tensor in named}


def _outcome(
    model: torch.nn.Module, optimizer: torch.optim.Optimizer, step: TrainingStep, result: StepResult
) -> dict[str, Any]:
    """Return everything that a step has made, as a state; tensors are not copied."""
    return {
        "loss": result.loss,
        "gradients": {name: each.grad for name, each in model.named_parameters()},
        "weights": _tensors_of(model),
        "optimizer": optimizer.state_dict(),
        "step": step.state_dict(),
    }


def differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """Return a phrase for each tensor of two states whose bits differ, in the states' order.

    What is no tensor, such as the loss, comes last.
    """
    (structure, tensors), (other_structure, others) = map(_encoded, (one, other))
    found = [
        f"{name} (by up to {_largest_difference(tensor, others[name]):.3g})"
        for name, tensor in tensors.items()
        if name in others and not _same_bits(tensor, others[name])
    ]
    return found if structure == other_structure else [*found, "loss or other numbers"]


def _encoded(state: Mapping[str, Any]) -> tuple[Any, dict[str, torch.Tensor]]:
    return StateEncoder().encode(dict(state))


def _same_bits(one: torch.Tensor, other: torch.Tensor) -> bool:
    return one.shape == other.shape and torch.equal(_bytes_of(one), _bytes_of(other))


def _bytes_of(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8)


def _largest_difference(one: torch.Tensor, other: torch.Tensor) -> float:
    wide = torch.complex128 if one.is_complex() else torch.float64
    return (one.detach().to(wide) - other.detach().to(wide)).abs().max().item()


def _name_of(device: torch.device) -> str:
    """Return the names of node and GPU."""
    host = socket.gethostname()
    if device.type != "cuda":
        return f"the CPU of {host}"
    properties = torch.cuda.get_device_properties(device)
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "all")
    return (
        f"{host}, {properties.name} with UUID {properties.uuid} (device {device.index} of "
        f"CUDA_VISIBLE_DEVICES={visible})"
    )

"""One optimizer step: micro-batches, mixed precision, gradient clipping, averaged weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from attrs import frozen

from trainers.training.gradient_accumulation import SequentialAccumulation
from trainers.training.gradient_tree import BufferChanges, TreeAccumulation
from trainers.training.non_finite import NonFinite, find_non_finite
from trainers.training.weight_average import AveragedWeights

if TYPE_CHECKING:
    from trainers.architectures.model import Model
    from trainers.distributed.process_group import ProcessGroup
    from trainers.gunpowder_trainer_config import GunpowderTrainerConfig
    from trainers.tasks.losses import Loss
    from trainers.training.gradient_accumulation import BatchResult, GradientAccumulation


_LOW_PRECISION = {"bf16": torch.bfloat16, "fp16": torch.float16}
_MIN_LOSS_SCALE = 1e-4
"""Gradients that overflow in fp16 although the loss is scaled by less are to blame themselves."""


class DeviceTransfer:
    """Copies arrays to a device; to a GPU from pinned memory on a stream of its own.

    Kernels that were launched before keep running meanwhile; those launched later wait for the copy
    on the GPU, not on the CPU.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream: torch.cuda.Stream | None = None
        if device.type == "cuda":
            self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def to_device(self, array: npt.NDArray[Any]) -> torch.Tensor:
        """Return a copy of a contiguous array, in memory that torch has allocated.

        Also on a CPU: torch aligns its own memory, and kernels round differently by alignment.
        """
        here = torch.from_numpy(array)
        if self._stream is None:
            return here.to(self._device, copy=True)
        with torch.cuda.stream(self._stream):
            there = here.pin_memory().to(self._device, non_blocking=True)
        training = torch.cuda.current_stream(self._device)
        training.wait_stream(self._stream)
        # Or the caching allocator would reuse the memory once this stream alone is done with it.
        there.record_stream(training)
        return there


@frozen
class _MicroBatch:
    raw: npt.NDArray[Any]
    target: npt.NDArray[np.float32]
    weight: npt.NDArray[np.float32]


@frozen
class FirstSample:
    """Logits and gradient of the first sample of a rank, for snapshots."""

    logits: torch.Tensor
    """Float32 `[K, *block]`."""

    gradient: torch.Tensor
    """Of the loss of the whole batch, with respect to the logits."""


@frozen
class StepResult:
    """The outcome of one step."""

    loss: float
    """Of the whole batch."""

    first_sample: FirstSample | None = None
    """If requested."""

    non_finite: NonFinite | None = None
    """Why the step was not taken: network, optimizer and averages are as before. None if it was."""


class TrainingStep:
    """Takes optimizer steps with gradient accumulation, mixed precision and data parallelism.

    Its state dict holds what must survive a resume besides the states of network and optimizer: the
    loss scale of fp16, and the averaged weights.

    Args:
        model: The network, or one with the same parameters and buffers.
        group, seed: Of the run.
    """

    def __init__(
        self,
        config: GunpowderTrainerConfig,
        model: Model,
        loss: Loss,
        group: ProcessGroup,
        seed: int,
    ) -> None:
        self._config = config
        self._loss = loss
        self._group = group
        self._seed = seed
        self._device = next(model.parameters()).device
        self._transfer = DeviceTransfer(self._device)
        self._scaler = self._new_scaler()
        self._averaged = AveragedWeights(model, config.ema_decay)
        self._buffers: BufferChanges
        self._model: Model
        self._parameters: list[torch.nn.Parameter]
        self._accumulation: GradientAccumulation

    def begin(self, model: Model, device: torch.device) -> None:
        """Prepare for steps of the network on its device; all ranks call this."""
        self._model = model
        self._parameters = list(model.parameters())
        self._buffers = BufferChanges(model)
        self._device = device
        self._transfer = DeviceTransfer(device)
        scale = self._scaler.state_dict()
        self._scaler = self._new_scaler()
        self._scaler.load_state_dict(scale)
        self._averaged.to(device)
        if self._config.exact_across_ranks:
            self._accumulation = TreeAccumulation(
                self._model,
                self._group,
                num_micro_batches=self._config.batch_size
                // self._config.effective_micro_batch_size,
                seed=self._seed,
            )
        else:
            self._accumulation = SequentialAccumulation(self._model, self._group)

    def take(
        self,
        raw: npt.NDArray[Any],
        target: npt.NDArray[np.float32],
        weight: npt.NDArray[np.float32],
        optimizer: torch.optim.Optimizer,
        iteration: int,
        *,
        with_first_sample: bool,
        num_left_out: int = 0,
    ) -> StepResult:
        """Take one step with this rank's part of the batch, unless something in it is not finite.

        Args:
            raw: `[B, C, *input_shape]`, unsigned integers or floats in 0..1, as in `Sample`.
            target, weight: `[B, K, *output_shape]`.
            with_first_sample: Keep logits and gradient of the first sample.
            num_left_out: Earlier iterations in which no step was taken.
        """
        for parameter in self._parameters:  # `optimizer.zero_grad` takes ten times as long
            parameter.grad = None
        micro_batches = self._split(raw, target, weight)
        kept_logits: list[torch.Tensor] = []
        losses: list[torch.Tensor] = []

        def backward(network: torch.nn.Module, position: int, factor: float) -> torch.Tensor:
            micro_batch = micro_batches[position]
            logits = self._forward(network, micro_batch.raw)
            if with_first_sample and position == 0:
                logits.retain_grad()
                kept_logits.append(logits)
            loss = factor * self._loss.compute(
                logits,
                self._transfer.to_device(micro_batch.target),
                self._transfer.to_device(micro_batch.weight),
            )
            self._scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
            losses.append(loss.detach())
            return losses[-1]

        weights = [float(each.weight.sum(dtype=np.float64)) for each in micro_batches]
        with torch.no_grad():
            self._buffers.save()
        result = self._accumulation.run(iteration, weights, backward)
        if found := self._non_finite(result, losses):
            self._undo(optimizer)
            return StepResult(result.loss, non_finite=found)
        first_sample = self._first_sample(kept_logits[0]) if kept_logits else None
        self._update(optimizer, is_first=iteration == num_left_out)
        return StepResult(result.loss, first_sample)

    def state_dict(self) -> dict[str, Any]:
        """Return loss scale and averaged weights, if the run has them; tensors are not copied."""
        state = {
            "loss_scale": self._scaler.state_dict(),
            "averaged_weights": self._averaged.state_dict(),
        }
        return {key: value for key, value in state.items() if value}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._scaler.load_state_dict(state.get("loss_scale", {}))
        self._averaged.load_state_dict(state.get("averaged_weights", {}))

    def _new_scaler(self) -> torch.amp.GradScaler:
        return torch.amp.GradScaler(self._device.type, enabled=self._config.precision == "fp16")

    def _split(self, *arrays: npt.NDArray[Any]) -> list[_MicroBatch]:
        """Split arrays into contiguous micro-batches: how kernels round depends on strides."""
        size = min(self._config.effective_micro_batch_size, len(arrays[0]))
        return [
            _MicroBatch(*(np.ascontiguousarray(each[start : start + size]) for each in arrays))
            for start in range(0, len(arrays[0]), size)
        ]

    def _forward(self, network: torch.nn.Module, raw: npt.NDArray[Any]) -> torch.Tensor:
        low = _LOW_PRECISION.get(self._config.precision)
        with torch.autocast(self._device.type, low, enabled=low is not None):
            logits: torch.Tensor = network(_in_unit_range(self._transfer.to_device(raw)))
        return logits.float()

    def _first_sample(self, logits: torch.Tensor) -> FirstSample:
        assert logits.grad is not None
        scale = self._scaler.get_scale() * self._accumulation.gradient_divisor
        return FirstSample(logits[0].detach(), logits.grad[0] / scale)

    def _non_finite(self, result: BatchResult, losses: list[torch.Tensor]) -> NonFinite | None:
        """Return what is not finite; the same on all ranks, as loss and gradients are.

        Gradients that overflow in fp16 are no failure: the optimizer's step is left out, and the
        scale of the loss halved.
        """
        if math.isfinite(result.loss) and math.isfinite(result.gradient_norm):
            return None
        found = find_non_finite(self._model, result.loss, torch.stack(losses).tolist())
        is_search = self._scaler.is_enabled() and self._scaler.get_scale() >= _MIN_LOSS_SCALE
        return None if found and found.part == "gradients" and is_search else found

    @torch.no_grad()
    def _undo(self, optimizer: torch.optim.Optimizer) -> None:
        """Forget gradients, and what forward passes have made of running statistics."""
        self._buffers.restore()
        optimizer.zero_grad()

    def _update(self, optimizer: torch.optim.Optimizer, *, is_first: bool) -> None:
        self._scaler.unscale_(optimizer)
        if self._config.max_gradient_norm is not None:
            torch.nn.utils.clip_grad_norm_(self._model.parameters(), self._config.max_gradient_norm)
        self._scaler.step(optimizer)
        self._scaler.update()
        self._averaged.update(self._model, is_first=is_first)


def _in_unit_range(raw: torch.Tensor) -> torch.Tensor:
    """Return the same bits as `to_unit_range`, on the device: integers are smaller to transfer."""
    if raw.is_floating_point():
        return raw
    # By a tensor: CUDA multiplies with the reciprocal of a Python number, which rounds differently.
    return raw.float() / torch.tensor(float(torch.iinfo(raw.dtype).max), device=raw.device)

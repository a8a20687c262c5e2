"""From a batch to the next weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from attrs import frozen

from trainers.training.gradient_accumulation import SequentialAccumulation
from trainers.training.gradient_tree import TreeAccumulation
from trainers.training.weight_average import AveragedWeights

if TYPE_CHECKING:
    from trainers.architectures.model import Model
    from trainers.distributed.process_group import ProcessGroup
    from trainers.gunpowder_trainer_config import GunpowderTrainerConfig
    from trainers.tasks.losses import Loss
    from trainers.training.gradient_accumulation import GradientAccumulation


class DeviceTransfer:
    """Copies arrays to a device; to a GPU from pinned memory, while it computes.

    Kernels that are launched later wait for the copy on the GPU, and those before do not.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream: torch.cuda.Stream | None = None
        if device.type == "cuda":
            self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def to_device(self, array: npt.NDArray[Any]) -> torch.Tensor:
        """A copy of a contiguous array, in memory of torch's own, which is always aligned alike."""
        here = torch.from_numpy(array)
        if self._stream is None:
            return here.to(self._device, copy=True)
        with torch.cuda.stream(self._stream):
            there = here.pin_memory().to(self._device, non_blocking=True)
        training = torch.cuda.current_stream(self._device)
        training.wait_stream(self._stream)
        there.record_stream(training)
        return there


_LOW_PRECISION = {"bf16": torch.bfloat16, "fp16": torch.float16}


@frozen
class _MicroBatch:
    raw: npt.NDArray[Any]
    target: npt.NDArray[np.float32]
    weight: npt.NDArray[np.float32]


@frozen
class FirstSample:
    """What a step has found for the first sample of a rank."""

    logits: torch.Tensor
    """Float32 `[K, *block]`."""

    gradient: torch.Tensor
    """Of the loss of the whole batch, with respect to the logits."""


@frozen
class StepResult:
    """What one step has found."""

    loss: float
    """Of the whole batch."""

    first_sample: FirstSample | None = None
    """If it was asked for."""


class TrainingStep:
    """Takes the steps of an optimizer, in micro-batches, at any precision and on any ranks.

    Its own state is what must be remembered from one step to the next besides that of network and
    optimizer: the scale of the loss, and averaged weights.

    Args:
        model: The network, or one that is like it.
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
        self._feed = DeviceTransfer(self._device)
        self._scaler = self._new_scaler()
        self._averaged = AveragedWeights(model, config.ema_decay)
        self._model: Model
        self._accumulation: GradientAccumulation

    def begin(self, model: Model, device: torch.device) -> None:
        """Get ready for steps of the network as it is now, on its device; all ranks call it."""
        self._model = model
        self._device = device
        self._feed = DeviceTransfer(device)
        scale = self._scaler.state_dict()
        self._scaler = self._new_scaler()
        self._scaler.load_state_dict(scale)
        self._averaged.to(device)
        if self._config.exact_across_ranks:
            self._accumulation = TreeAccumulation(
                self._model,
                self._group,
                num_leaves=self._config.batch_size // self._config.samples_at_once,
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
    ) -> StepResult:
        """Take one step; the arrays are this rank's part of the batch, raw as in `Sample`."""
        optimizer.zero_grad()
        micro_batches = self._split(raw, target, weight)
        shown: list[torch.Tensor] = []

        def backward(network: torch.nn.Module, position: int, factor: float) -> torch.Tensor:
            micro_batch = micro_batches[position]
            logits = self._forward(network, micro_batch.raw)
            if with_first_sample and position == 0:
                logits.retain_grad()
                shown.append(logits)
            loss = factor * self._loss.compute(
                logits,
                self._feed.to_device(micro_batch.target),
                self._feed.to_device(micro_batch.weight),
            )
            self._scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
            return loss.detach()

        weights = [float(each.weight.sum(dtype=np.float64)) for each in micro_batches]
        result = StepResult(
            self._accumulation.run(iteration, weights, backward), *map(self._look_at, shown)
        )
        self._update(optimizer, iteration)
        return result

    def state_dict(self) -> dict[str, Any]:
        """Without what there is none of; the tensors are the step's own."""
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
        """Each as if it had been made alone: how arrays lie in memory decides about rounding."""
        size = min(self._config.samples_at_once, len(arrays[0]))
        return [
            _MicroBatch(*(np.ascontiguousarray(each[start : start + size]) for each in arrays))
            for start in range(0, len(arrays[0]), size)
        ]

    def _forward(self, network: torch.nn.Module, raw: npt.NDArray[Any]) -> torch.Tensor:
        low = _LOW_PRECISION.get(self._config.precision)
        with torch.autocast(self._device.type, low, enabled=low is not None):
            logits: torch.Tensor = network(_in_unit_range(self._feed.to_device(raw)))
        return logits.float()

    def _look_at(self, logits: torch.Tensor) -> FirstSample:
        assert logits.grad is not None
        scale = self._scaler.get_scale() * self._accumulation.gradient_divisor
        return FirstSample(logits[0].detach(), logits.grad[0] / scale)

    def _update(self, optimizer: torch.optim.Optimizer, iteration: int) -> None:
        self._scaler.unscale_(optimizer)
        if self._config.max_gradient_norm is not None:
            torch.nn.utils.clip_grad_norm_(self._model.parameters(), self._config.max_gradient_norm)
        self._scaler.step(optimizer)
        self._scaler.update()
        self._averaged.update(self._model, is_first=iteration == 0)


def _in_unit_range(raw: torch.Tensor) -> torch.Tensor:
    """As `to_unit_range` makes it, bit for bit."""
    if raw.is_floating_point():
        return raw
    # by a tensor: by a number, CUDA would multiply with its reciprocal
    return raw.float() / torch.tensor(float(torch.iinfo(raw.dtype).max), device=raw.device)

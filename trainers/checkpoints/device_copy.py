"""Copy a state from a GPU to pinned host memory while the GPU keeps computing."""

from __future__ import annotations

import logging
import mmap
from collections.abc import Callable, Sequence
from functools import partial
from itertools import compress
from typing import Any

import torch

from trainers.checkpoints.safetensors_torch import as_bytes

_logger = logging.getLogger(__name__)
_PORTABLE = 1  # cudaHostRegisterPortable: pinned for the contexts of all GPUs


class WeightWatch:
    """Learns whether only the optimizer's steps change weights.

    Some networks do so in their forward pass: forced weight normalization (Karras et al. 2024,
    "Analyzing and improving the training dynamics of diffusion models"), weight standardization in
    place. A copy on a side stream would mix weights from before and after it.
    """

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self._optimizer = optimizer
        self._after_step: list[int] | None = None
        self._has_seen_a_pass = False
        self._has_seen_a_change = False
        optimizer.register_step_pre_hook(self._before_a_step)
        optimizer.register_step_post_hook(self._after_a_step)

    @property
    def only_steps_change_weights(self) -> bool:
        """Whether that is known: false until the passes between two steps have been seen."""
        return self._has_seen_a_pass and not self._has_seen_a_change

    def _versions(self) -> list[int]:
        # Autograd counts changes in place; a comparison of values would cost a pass over them.
        return [each._version for each in _weights_of(self._optimizer)]

    def _before_a_step(self, *_: Any) -> None:
        if self._after_step is not None:
            self._has_seen_a_pass = True
            self._has_seen_a_change |= self._versions() != self._after_step

    def _after_a_step(self, *_: Any) -> None:
        self._after_step = self._versions()


def _weights_of(optimizer: torch.optim.Optimizer) -> list[torch.Tensor]:
    return [each for group in optimizer.param_groups for each in group["params"]]


class DeviceCopy:
    """Copies for which neither the CPU nor the next forward and backward pass waits.

    Tensors that only optimizer steps change are copied on a side stream, and a pre-hook of the
    optimizer makes its next step wait for them on the GPU. All others are copied on the training's
    stream, so in order with whatever changes them.

    Args:
        watch: Of the optimizer, from before the first forward pass.
    """

    def __init__(self, optimizer: torch.optim.Optimizer | None, watch: WeightWatch | None) -> None:
        self._optimizer = optimizer
        self._watch = watch
        self._stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        self._copied: torch.cuda.Event | None = None
        if optimizer is not None:
            optimizer.register_step_pre_hook(self._hold_step)

    def start(
        self, targets: Sequence[torch.Tensor], sources: Sequence[torch.Tensor]
    ) -> Callable[[], None]:
        """Start to copy; return a function that waits until the copy is complete."""
        changed_by_steps = self._changed_by_steps()
        aside = [each.data_ptr() in changed_by_steps for each in sources]
        training = torch.cuda.current_stream()
        self._stream.wait_stream(training)
        with torch.cuda.stream(self._stream):
            _copy(targets, sources, aside)
            copied = self._stream.record_event()
        _copy(targets, sources, [not each for each in aside])
        self._copied = copied
        # bound to the sources: their memory must not be reused while the GPU still reads it
        return partial(_wait, (copied, training.record_event()), sources)

    def _changed_by_steps(self) -> set[int]:
        if self._optimizer is None or self._watch is None:
            return set()
        only_steps = self._watch.only_steps_change_weights
        weights = _weights_of(self._optimizer) if only_steps else []
        states = [each for state in self._optimizer.state.values() for each in state.values()]
        return {each.data_ptr() for each in (*weights, *states) if isinstance(each, torch.Tensor)}

    def _hold_step(self, *_: Any) -> None:
        if self._copied is not None:
            torch.cuda.current_stream().wait_event(self._copied)
            self._copied = None


def _copy(
    targets: Sequence[torch.Tensor], sources: Sequence[torch.Tensor], chosen: Sequence[bool]
) -> None:
    if any(chosen):
        # Private, but the only call that copies a list of tensors in few launches. Tensors on the
        # CPU among them (such as an optimizer's `step`) are copied synchronously, which is right.
        with torch.no_grad():
            torch._foreach_copy_(
                [*compress(targets, chosen)], [*compress(sources, chosen)], non_blocking=True
            )


def _wait(events: Sequence[torch.cuda.Event], _: Sequence[torch.Tensor]) -> None:
    for event in events:
        event.synchronize()


def pin(memory: mmap.mmap, device: torch.device) -> bool:
    """Pin memory, so that a GPU writes to it by DMA; return False if the driver refuses.

    cudaHostRegister, because torch pins only memory that it allocates itself, and this buffer has
    the layout of the file that it is written to. Copies to unpinned memory are slower.
    """
    with torch.cuda.device(device):
        address = as_bytes(memory).data_ptr()
        error = int(_runtime().cudaHostRegister(address, len(memory), _PORTABLE))
    if error:
        _logger.warning(
            "%d bytes of memory cannot be pinned (CUDA error %d): "
            "saving stalls training for longer",
            len(memory),
            error,
        )
    return error == 0


def unpin(memory: mmap.mmap) -> None:
    _runtime().cudaHostUnregister(as_bytes(memory).data_ptr())


def _runtime() -> Any:
    return torch.cuda.cudart()  # type: ignore[no-untyped-call]

"""Copy a state from a GPU to pinned memory while the GPU goes on computing."""

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
_PORTABLE = 1


class DeviceCopy:
    """Copies that neither the processor nor the next forward and backward pass waits for.

    What only the steps of the optimizer change is copied on a stream of its own, and the next step
    waits for that on the GPU. All else is copied in the stream of the training, ahead of whatever
    may change it.
    """

    def __init__(self, optimizer: torch.optim.Optimizer | None) -> None:
        self._optimizer = optimizer
        self._stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        self._copied: torch.cuda.Event | None = None
        if optimizer is not None:
            optimizer.register_step_pre_hook(self._hold_step)

    def start(
        self, targets: Sequence[torch.Tensor], sources: Sequence[torch.Tensor]
    ) -> Callable[[], None]:
        """Begin to copy; what is returned waits for the end."""
        changed_by_steps = self._changed_by_steps()
        aside = [each.data_ptr() in changed_by_steps for each in sources]
        training = torch.cuda.current_stream()
        self._stream.wait_stream(training)
        with torch.cuda.stream(self._stream):
            _copy(targets, sources, aside)
            copied = self._stream.record_event()
        _copy(targets, sources, [not each for each in aside])
        self._copied = copied
        # the sources must live until then, also if the training drops them
        return partial(_wait, (copied, training.record_event()), sources)

    def _changed_by_steps(self) -> set[int]:
        if self._optimizer is None:
            return set()
        weights = [each for group in self._optimizer.param_groups for each in group["params"]]
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
        with torch.no_grad():
            torch._foreach_copy_(
                [*compress(targets, chosen)], [*compress(sources, chosen)], non_blocking=True
            )


def _wait(events: Sequence[torch.cuda.Event], _: Sequence[torch.Tensor]) -> None:
    for event in events:
        event.synchronize()


def pin(memory: mmap.mmap, device: torch.device) -> bool:
    """Let a GPU write into memory by itself; false if that is refused, which costs speed only."""
    with torch.cuda.device(device):
        address = as_bytes(memory).data_ptr()
        error = int(_runtime().cudaHostRegister(address, len(memory), _PORTABLE))
    if error:
        _logger.warning(
            "%d bytes of memory cannot be pinned (CUDA error %d): saving holds up the training "
            "for longer",
            *(len(memory), error),
        )
    return error == 0


def unpin(memory: mmap.mmap) -> None:
    _runtime().cudaHostUnregister(as_bytes(memory).data_ptr())


def _runtime() -> Any:
    return torch.cuda.cudart()  # type: ignore[no-untyped-call]

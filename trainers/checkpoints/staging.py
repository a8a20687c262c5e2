"""Copy a state into memory that has the layout of the file that it is written to."""

from __future__ import annotations

import mmap
from collections.abc import Callable, Mapping
from typing import Any

import torch
from attrs import frozen

from trainers.checkpoints.aligned_memory import aligned_memory, touch, whole_pages
from trainers.checkpoints.device_copy import DeviceCopy, WeightWatch, pin, unpin
from trainers.checkpoints.host_copy import MemoryCopier
from trainers.checkpoints.safetensors_header import build_header
from trainers.checkpoints.safetensors_torch import DTYPE_NAMES, as_bytes, tensor_at
from trainers.checkpoints.state_encoder import StateEncoder


@frozen(kw_only=True)
class StagedState:
    """A copy of a state, which no longer changes with the training."""

    tree_structure: Any
    """Tree structure; see `state_decoder`."""
    content: memoryview
    """The data file, padded to whole pages."""
    num_bytes: int
    """Length of the data file."""
    wait: Callable[[], None]
    """Blocks until the content is complete: a GPU may still be copying."""
    is_finite: Callable[[], bool] = lambda: True
    """Returns whether what the optimizer's steps change is finite; to be called after `wait`."""


@frozen
class Layout:
    """Names, dtypes and shapes, which decide where in the file the tensors of a state lie."""

    names: list[str]
    dtypes: list[torch.dtype]
    shapes: list[torch.Size]
    device: torch.device | None
    """The GPU, if any tensor is on one."""

    @classmethod
    def of(cls, tensors: Mapping[str, torch.Tensor]) -> Layout:
        values = tensors.values()
        return cls(
            [*tensors],
            [each.dtype for each in values],
            [each.shape for each in values],
            next((each.device for each in values if each.is_cuda), None),
        )


class Staging:
    """Memory into which states are copied, as fast as it can be.

    Memory and layout are kept: a second state of the same layout costs no more than its copy. There
    is one staged state at a time; the next one overwrites it.

    Args:
        optimizer: On a GPU, tensors that only its steps change are copied during the next forward
            and backward pass; see `DeviceCopy`.
    """

    def __init__(self, optimizer: torch.optim.Optimizer | None = None) -> None:
        self._encoder = StateEncoder()
        self._optimizer = optimizer
        self._watch = WeightWatch(optimizer) if optimizer is not None else None
        self._device_copy: DeviceCopy | None = None
        self._memory_copier: MemoryCopier | None = None
        self._layout: Layout | None = None
        self._memory: mmap.mmap | None = None
        self._is_pinned = False
        self._views: list[torch.Tensor] = []
        self._num_bytes = 0

    def layout_of(self, state: Any) -> Layout:
        """Return what `make_room` needs to know about states such as this one.

        Raises:
            TypeError: The state holds something that cannot be saved.
        """
        return Layout.of(self._encoder.encode(state)[1])

    def make_room(self, layout: Layout) -> None:
        """Allocate memory for states of a layout, all its pages faulted in; seconds per gigabyte.

        Any thread may call it while nothing is staged. Other threads keep running meanwhile.

        Raises:
            CheckpointError: There is not enough memory.
        """
        if layout != self._layout:
            self._lay_out(layout, touch)

    def stage(self, state: Any) -> StagedState:
        """Copy a state, which may change on return; the copy is complete after `wait`.

        Raises:
            TypeError: The state holds something that cannot be saved.
            CheckpointError: There is not enough memory.
        """
        tree_structure, tensors = self._encoder.encode(state)
        layout = Layout.of(tensors)
        if layout != self._layout:
            self._lay_out(layout)
        assert self._memory is not None
        trained = _changed_by(self._optimizer)
        views = [
            view
            for view, tensor in zip(self._views, tensors.values(), strict=True)
            if tensor.data_ptr() in trained
        ]
        return StagedState(
            tree_structure=tree_structure,
            content=memoryview(self._memory)[: whole_pages(self._num_bytes)],
            num_bytes=self._num_bytes,
            wait=self._copy([*tensors.values()], layout.device),
            is_finite=lambda: all(map(_is_finite, views)),
        )

    def release(self) -> None:
        """Free the memory. Nothing staged may be in use any more."""
        if self._memory is not None and self._is_pinned:
            unpin(self._memory)
        if self._memory_copier is not None:
            self._memory_copier.close()
            self._memory_copier = None
        self._layout, self._memory, self._is_pinned, self._views = None, None, False, []

    def _lay_out(
        self, layout: Layout, prepare: Callable[[mmap.mmap], None] = lambda memory: None
    ) -> None:
        header, spans = build_header(
            {
                name: (DTYPE_NAMES[dtype], tuple(shape))
                for name, dtype, shape in zip(
                    layout.names, layout.dtypes, layout.shapes, strict=True
                )
            }
        )
        num_bytes = max((each.end for each in spans.values()), default=len(header))
        if self._memory is None or len(self._memory) < num_bytes:
            self.release()
            self._memory = aligned_memory(num_bytes)
            prepare(self._memory)
        if layout.device is None and self._memory_copier is None:
            self._memory_copier = MemoryCopier()
        elif layout.device is not None and not self._is_pinned:
            self._is_pinned = pin(self._memory, layout.device)
        self._memory[: len(header)] = header
        content = as_bytes(self._memory)
        self._views = [tensor_at(content, spans[name]) for name in layout.names]
        self._layout, self._num_bytes = layout, num_bytes

    def _copy(self, tensors: list[torch.Tensor], device: torch.device | None) -> Callable[[], None]:
        if device is not None:
            if self._device_copy is None:
                self._device_copy = DeviceCopy(self._optimizer, self._watch)
            return self._device_copy.start(self._views, tensors)
        assert self._memory_copier is not None
        self._memory_copier.copy(self._views, tensors)
        return lambda: None  # complete already


def _changed_by(optimizer: torch.optim.Optimizer | None) -> set[int]:
    """Return the addresses of trained weights and of the optimizer's state.

    Not those of buffers and frozen parameters, such as a mask with infinities.
    """
    if optimizer is None:
        return set()
    weights = [
        each for group in optimizer.param_groups for each in group["params"] if each.requires_grad
    ]
    states = [each for state in optimizer.state.values() for each in state.values()]
    return {each.data_ptr() for each in (*weights, *states) if isinstance(each, torch.Tensor)}


def _is_finite(tensor: torch.Tensor) -> bool:
    """Return whether a tensor in host memory is finite, reading it once and allocating nothing."""
    if not (tensor.is_floating_point() or tensor.is_complex()):
        return True
    # A sum with NaN or infinity is not finite either. That of large numbers may overflow as well.
    return bool(torch.isfinite(tensor.sum())) or bool(torch.isfinite(tensor).all())

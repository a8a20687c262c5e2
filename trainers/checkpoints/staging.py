"""Memory that holds a state in the layout of the file that it goes into."""

from __future__ import annotations

import mmap
from collections.abc import Callable, Mapping
from typing import Any

import torch
from attrs import frozen

from trainers.checkpoints.aligned_memory import aligned_memory, touch, whole_pages
from trainers.checkpoints.device_copy import DeviceCopy, pin, unpin
from trainers.checkpoints.host_copy import MemoryCopier
from trainers.checkpoints.safetensors_header import build_header
from trainers.checkpoints.safetensors_torch import DTYPE_NAMES, as_bytes, tensor_at
from trainers.checkpoints.state_encoder import StateEncoder


@frozen(kw_only=True)
class StagedState:
    """Skeleton and tensors of a state that no longer changes with the training."""

    skeleton: Any
    """See `skeleton`."""
    content: memoryview
    """Of the data file; goes on to the end of the last page."""
    num_bytes: int
    """The length of the data file."""
    wait: Callable[[], None]
    """Returns once the content is there: a GPU may still be copying it."""


@frozen
class Layout:
    """All of a state that decides where in the file its tensors lie."""

    names: list[str]
    dtypes: list[torch.dtype]
    shapes: list[torch.Size]
    device: torch.device | None
    """The GPU, if some of them are on one."""

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
    """Takes states out of the training's hands, as quickly as memory can be copied.

    The memory is kept, and what depends on the layout alone is worked out once: a second state of
    the same layout costs no more than to copy it. There is one staged state at a time; the next one
    takes its place.

    Args:
        optimizer: Of the run; on a GPU, what changes in its steps only is copied beside the next
            forward and backward pass.
    """

    def __init__(self, optimizer: torch.optim.Optimizer | None = None) -> None:
        self._encoder = StateEncoder()
        self._optimizer = optimizer
        self._device_copy: DeviceCopy | None = None
        self._memory_copier: MemoryCopier | None = None
        self._layout: Layout | None = None
        self._memory: mmap.mmap | None = None
        self._is_pinned = False
        self._views: list[torch.Tensor] = []
        self._num_bytes = 0

    def layout_of(self, state: Any) -> Layout:
        """What `make_room` needs to know about states such as this one.

        Raises:
            TypeError: The state holds something that cannot be saved.
        """
        return Layout.of(self._encoder.encode(state)[1])

    def make_room(self, layout: Layout) -> None:
        """Have memory for states of a layout, its pages in place; takes seconds for gigabytes.

        Any thread may call it, while nothing is staged. Other threads go on meanwhile.

        Raises:
            CheckpointError: There is not enough memory.
        """
        if layout != self._layout:
            self._lay_out(layout, touch)

    def stage(self, state: Any) -> StagedState:
        """A copy of a state, which may change on return; `wait` until the copy is whole.

        Raises:
            TypeError: The state holds something that cannot be saved.
            CheckpointError: There is not enough memory.
        """
        skeleton, tensors = self._encoder.encode(state)
        layout = Layout.of(tensors)
        if layout != self._layout:
            self._lay_out(layout)
        assert self._memory is not None
        return StagedState(
            skeleton=skeleton,
            content=memoryview(self._memory)[: whole_pages(self._num_bytes)],
            num_bytes=self._num_bytes,
            wait=self._copy([*tensors.values()], layout.device),
        )

    def release(self) -> None:
        """Give the memory back once nothing staged is in use any more."""
        if self._memory is not None and self._is_pinned:
            unpin(self._memory)
        if self._memory_copier is not None:
            self._memory_copier.close()
            self._memory_copier = None
        self._layout, self._memory, self._is_pinned, self._views = None, None, False, []

    def _lay_out(
        self, layout: Layout, prepare: Callable[[mmap.mmap], None] = lambda memory: None
    ) -> None:
        header, places = build_header(
            {
                name: (DTYPE_NAMES[dtype], tuple(shape))
                for name, dtype, shape in zip(
                    layout.names, layout.dtypes, layout.shapes, strict=True
                )
            }
        )
        num_bytes = max((each.end for each in places.values()), default=len(header))
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
        self._views = [tensor_at(content, places[name]) for name in layout.names]
        self._layout, self._num_bytes = layout, num_bytes

    def _copy(self, tensors: list[torch.Tensor], device: torch.device | None) -> Callable[[], None]:
        if device is not None:
            if self._device_copy is None:
                self._device_copy = DeviceCopy(self._optimizer)
            return self._device_copy.start(self._views, tensors)
        assert self._memory_copier is not None
        self._memory_copier.copy(self._views, tensors)
        return _nothing


def _nothing() -> None:
    """What is left to wait for if the processor has copied."""

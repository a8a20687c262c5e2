"""What forward passes do to the buffers of a network, such as running statistics."""

from __future__ import annotations

from collections.abc import Sequence

import torch


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

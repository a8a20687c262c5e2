"""Memory that two processes share, to hand over arrays without pickling them."""

from __future__ import annotations

import mmap
import os
from collections.abc import Sequence
from pickle import PickleBuffer
from typing import TYPE_CHECKING

from attrs import frozen

if TYPE_CHECKING:
    import numpy as np

_ALIGNMENT = 64  # a cache line
_GROWTH = 2**20
"""The block grows in multiples of this."""


@frozen
class BufferSpan:
    """The place of a buffer in the block, in bytes."""

    start: int
    num_bytes: int


class SharedBlock:
    """One process puts buffers in, the other takes copies of them out; they alternate.

    Args:
        descriptor: An open memory file, which is closed with the block; each process has its own.
    """

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._memory: mmap.mmap | None = None

    @classmethod
    def new(cls) -> SharedBlock:
        """Create a block. It has no name, so that the kernel frees it with its last process."""
        return cls(os.memfd_create("sample"))

    def put(self, buffers: Sequence[PickleBuffer]) -> list[BufferSpan]:
        """Write buffers over what was there; return where each lies."""
        spans, end = [], 0
        for buffer in buffers:
            num_bytes = buffer.raw().nbytes
            spans.append(BufferSpan(end, num_bytes))
            end += -(-num_bytes // _ALIGNMENT) * _ALIGNMENT
        if end > os.fstat(self.descriptor).st_size:
            os.ftruncate(self.descriptor, -(-end // _GROWTH) * _GROWTH)
        memory = self._mapped(end)
        for buffer, span in zip(buffers, spans, strict=True):
            memory[span.start : span.start + span.num_bytes] = buffer.raw()
        return spans

    def take(self, spans: Sequence[BufferSpan]) -> list[memoryview]:
        """Return the buffers that were put there, copied to memory of their own."""
        end = max((span.start + span.num_bytes for span in spans), default=0)
        copy = self._mapped(end).copy().data
        return [copy[span.start : span.start + span.num_bytes] for span in spans]

    def close(self) -> None:
        os.close(self.descriptor)
        self._memory = None

    def _mapped(self, num_bytes: int) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
        import numpy as np  # its copies release the GIL

        if self._memory is None or len(self._memory) < num_bytes:
            length = os.fstat(self.descriptor).st_size
            self._memory = mmap.mmap(self.descriptor, length) if length else None
        if self._memory is None:
            return np.empty(0, np.uint8)
        return np.frombuffer(self._memory, np.uint8)[:num_bytes]

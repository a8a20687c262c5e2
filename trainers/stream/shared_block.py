"""Memory that two processes share, through which arrays go without being pickled."""

from __future__ import annotations

import mmap
import os
from collections.abc import Sequence
from pickle import PickleBuffer
from typing import TYPE_CHECKING

from attrs import frozen

if TYPE_CHECKING:
    import numpy as np

_ALIGNMENT = 64
_GROWTH = 2**20
"""It grows to a multiple of so many bytes."""


@frozen
class Place:
    """Where in the block a buffer lies."""

    start: int
    num_bytes: int


class SharedBlock:
    """One process puts buffers in, the other takes copies of them out; they take turns.

    Args:
        descriptor: Of the memory, an open file that is closed with the block; both have one.
    """

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._memory: mmap.mmap | None = None

    @classmethod
    def new(cls) -> SharedBlock:
        """One that nobody else has yet; it has no name, and ends with the last that have it."""
        return cls(os.memfd_create("sample"))

    def put(self, buffers: Sequence[PickleBuffer]) -> list[Place]:
        """Lay buffers down in place of what was there."""
        places, end = [], 0
        for buffer in buffers:
            num_bytes = buffer.raw().nbytes
            places.append(Place(end, num_bytes))
            end += -(-num_bytes // _ALIGNMENT) * _ALIGNMENT
        if end > os.fstat(self.descriptor).st_size:
            os.ftruncate(self.descriptor, -(-end // _GROWTH) * _GROWTH)
        memory = self._mapped(end)
        for buffer, place in zip(buffers, places, strict=True):
            memory[place.start : place.start + place.num_bytes] = buffer.raw()
        return places

    def take(self, places: Sequence[Place]) -> list[memoryview]:
        """The buffers that were put there, in memory of their own."""
        end = max((place.start + place.num_bytes for place in places), default=0)
        copy = self._mapped(end).copy().data
        return [copy[place.start : place.start + place.num_bytes] for place in places]

    def close(self) -> None:
        os.close(self.descriptor)
        self._memory = None

    def _mapped(self, num_bytes: int) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
        import numpy as np  # copies without holding up other threads

        if self._memory is None or len(self._memory) < num_bytes:
            length = os.fstat(self.descriptor).st_size
            self._memory = mmap.mmap(self.descriptor, length) if length else None
        if self._memory is None:
            return np.empty(0, np.uint8)
        return np.frombuffer(self._memory, np.uint8)[:num_bytes]

"""What memory and disk can do: the measures for everything else."""

from __future__ import annotations

import ctypes
import mmap
import os
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

import torch

_PIECE_BYTES = 16 * 2**20
_memmove = ctypes.CDLL(None).memmove
_memmove.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)


class Copying:
    """Two buffers of a state's size, whose pages exist; one holds the bytes of the state."""

    def __init__(self, tensors: list[torch.Tensor]) -> None:
        self._source = torch.cat([each.reshape(-1).view(torch.uint8) for each in tensors])
        self._target = self._source.clone()

    def seconds(self) -> float:
        """The quicker one of torch's copy, with the training's threads, and libc's."""

        def move() -> None:
            source, target = self._source, self._target
            _memmove(target.data_ptr(), source.data_ptr(), source.nbytes)

        return min(self._time(lambda: self._target.copy_(self._source)), self._time(move))

    def _time(self, copy: Callable[[], object]) -> float:
        self._source.mul_(1)  # see Network.touch
        began = perf_counter()
        copy()
        return perf_counter() - began

    @property
    def content(self) -> memoryview:
        return self._source.numpy().data


def write(path: Path, content: memoryview) -> float:
    """Seconds to write a new file, piece by piece, and to make it durable."""
    began = perf_counter()
    with path.open("xb", buffering=0) as file:
        for start in range(0, len(content), _PIECE_BYTES):
            piece = content[start : start + _PIECE_BYTES]
            while piece:
                piece = piece[file.write(piece) :]
        os.fsync(file.fileno())
    return perf_counter() - began


def read(path: Path, memory: mmap.mmap | None = None) -> float:
    """Seconds to read a whole file with `readinto`, into new memory if none is given.

    New memory is the fair measure for a restore: a program that restores a run has just been
    started, and the kernel has to find and zero each page that it reads into. So it is with
    `open(path, "rb").read()`. Memory that was touched before shows how much of the time that is.
    """
    began = perf_counter()
    with path.open("rb", buffering=0) as file:
        rest = memoryview(memory or _new_memory(path.stat().st_size))
        while rest:
            rest = rest[file.readinto(rest) :]
    return perf_counter() - began


def touched_memory(num_bytes: int) -> mmap.mmap:
    memory = _new_memory(num_bytes)
    torch.frombuffer(memory, dtype=torch.uint8).fill_(1)
    return memory


def forget(path: Path) -> None:
    """Take a file, or all files of a folder, out of the page cache."""
    for each in [path, *path.rglob("*")]:
        descriptor = os.open(each, os.O_RDONLY)
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def _new_memory(num_bytes: int) -> mmap.mmap:
    return mmap.mmap(-1, num_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)

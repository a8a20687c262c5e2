"""Copy many tensors from memory to memory, on all the processors that a training may use."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from operator import itemgetter
from threading import Barrier

import torch

_PIECE_BYTES = 256 * 2**20
"""Libc writes past the caches what is larger than most of a thread's share of them: that is a third
less traffic, so that pieces are larger than such a share is on any processor that we know of."""
_SMALL_BYTES = 2**16
"""Tensors of no more than this are copied all at once."""
_MAX_THREADS = 8
"""More do not make memory any quicker."""

_Piece = tuple[int, int, int]
"""Addresses of target and source, number of bytes."""


class MemoryCopier:
    """Threads that share the pieces of a copy among them as they come to it.

    torch would have all of its threads meet after each tensor: then what other processes hold up
    holds up all of them, and even on an idle machine it takes a fifth longer.
    """

    def __init__(self) -> None:
        self._num_helpers = min(_MAX_THREADS, torch.get_num_threads()) - 1
        self._helpers = ThreadPoolExecutor(
            max(1, self._num_helpers), thread_name_prefix="checkpoint-copy"
        )
        self._start_helpers()

    def copy(self, targets: Sequence[torch.Tensor], sources: Sequence[torch.Tensor]) -> None:
        """Returns when all is copied.

        Args:
            targets: Contiguous, of the same dtypes and shapes as the sources.
        """
        pairs = list(zip(targets, sources, strict=True))
        pieces = [piece for pair in pairs if _is_large(pair[1]) for piece in _pieces(*pair)]
        shared = iter(sorted(pieces, key=itemgetter(2), reverse=True))  # so all end together
        helping = [self._helpers.submit(_copy, shared) for _ in range(self._num_helpers)]
        try:
            _copy_small([pair for pair in pairs if not _is_large(pair[1])])
            _copy(shared)
        finally:
            for each in helping:
                if not each.cancel():
                    each.result()

    def close(self) -> None:
        self._helpers.shutdown()

    def _start_helpers(self) -> None:
        """The executor would start them during the first copy, and delay it."""
        all_are_there = Barrier(self._num_helpers + 1)
        for _ in range(self._num_helpers):
            self._helpers.submit(all_are_there.wait)
        all_are_there.wait()


def _copy(pieces: Iterator[_Piece]) -> None:
    for to, from_, num_bytes in pieces:
        ctypes.memmove(to, from_, num_bytes)


def _copy_small(pairs: Sequence[tuple[torch.Tensor, torch.Tensor]]) -> None:
    if pairs:
        targets, sources = zip(*pairs, strict=True)
        with torch.no_grad():
            torch._foreach_copy_(targets, sources)


def _is_large(tensor: torch.Tensor) -> bool:
    """Whether it is worth it, and its memory holds its elements in order and as they are."""
    return (
        tensor.nbytes > _SMALL_BYTES
        and tensor.is_contiguous()
        and not (tensor.is_conj() or tensor.is_neg())
    )


def _pieces(target: torch.Tensor, source: torch.Tensor) -> Iterator[_Piece]:
    to, from_, num_bytes = target.data_ptr(), source.data_ptr(), source.nbytes
    for start in range(0, num_bytes, _PIECE_BYTES):
        yield to + start, from_ + start, min(_PIECE_BYTES, num_bytes - start)

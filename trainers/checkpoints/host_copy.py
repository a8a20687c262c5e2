"""Copy many tensors from memory to memory, with several threads."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from operator import itemgetter
from threading import Barrier

import torch

_PIECE_BYTES = 256 * 2**20
"""Above most of a thread's share of the caches, glibc's memmove uses non-temporal stores, which
saves a third of the memory traffic. Pieces are larger than that share on any CPU known to us."""
_SMALL_BYTES = 2**16
"""Tensors up to this size are copied together, in one call of torch."""
_MAX_THREADS = 8
"""Memory bandwidth is used up by then."""

_Piece = tuple[int, int, int]
"""Address of the target, address of the source, number of bytes."""


class MemoryCopier:
    """Threads that take the pieces of a copy from one queue.

    Not torch's own copy: its threads meet at a barrier after each tensor, so that one thread that
    another process delays holds up all; even on an idle machine that takes a fifth longer.
    """

    def __init__(self) -> None:
        self._num_helpers = min(_MAX_THREADS, torch.get_num_threads()) - 1
        self._helpers = ThreadPoolExecutor(
            max(1, self._num_helpers), thread_name_prefix="checkpoint-copy"
        )
        self._start_helpers()

    def copy(self, targets: Sequence[torch.Tensor], sources: Sequence[torch.Tensor]) -> None:
        """Copy each source to its target; return when all are complete.

        Args:
            targets: Contiguous, with the dtypes and shapes of the sources.
        """
        pairs = list(zip(targets, sources, strict=True))
        pieces = [piece for pair in pairs if _is_large(pair[1]) for piece in _pieces(*pair)]
        shared = iter(
            sorted(pieces, key=itemgetter(2), reverse=True)
        )  # largest first: threads finish together
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
        """Start all threads now: the executor would start them during the first copy, and delay it.

        Each waits at the barrier, so that none is idle and no task is given to it twice.
        """
        all_started = Barrier(self._num_helpers + 1)
        for _ in range(self._num_helpers):
            self._helpers.submit(all_started.wait)
        all_started.wait()


def _copy(pieces: Iterator[_Piece]) -> None:
    # `next` on the shared iterator is atomic under the GIL; memmove by ctypes releases the GIL.
    for to, from_, num_bytes in pieces:
        ctypes.memmove(to, from_, num_bytes)


def _copy_small(pairs: Sequence[tuple[torch.Tensor, torch.Tensor]]) -> None:
    if pairs:
        targets, sources = zip(*pairs, strict=True)
        with torch.no_grad():
            torch._foreach_copy_(targets, sources)


def _is_large(tensor: torch.Tensor) -> bool:
    """Return whether a tensor is worth a memmove, and its memory holds its values in order."""
    return (
        tensor.nbytes > _SMALL_BYTES
        and tensor.is_contiguous()
        and not (tensor.is_conj() or tensor.is_neg())
    )


def _pieces(target: torch.Tensor, source: torch.Tensor) -> Iterator[_Piece]:
    to, from_, num_bytes = target.data_ptr(), source.data_ptr(), source.nbytes
    for start in range(0, num_bytes, _PIECE_BYTES):
        yield to + start, from_ + start, min(_PIECE_BYTES, num_bytes - start)

"""Copy many tensors from memory to memory, on all the processors that a training may use."""

from __future__ import annotations

import ctypes
import math
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import torch

from trainers.errors import CheckpointError

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

    def run(self, copy: MemoryCopy) -> None:
        """Returns when all is copied."""
        helping = [self._helpers.submit(copy.help) for _ in range(self._num_helpers)]
        try:
            copy.run()
        finally:
            for each in helping:
                if not each.cancel():
                    each.result()

    def close(self) -> None:
        self._helpers.shutdown()


class MemoryCopy:
    """One copy, made from the lowest address on: its beginning is of use before its end is there.

    Args:
        targets: Contiguous, of the same dtypes and shapes as the sources.
    """

    def __init__(self, targets: Sequence[torch.Tensor], sources: Sequence[torch.Tensor]) -> None:
        self._tensors = (targets, sources)  # pieces are addresses: their memory has to live
        pairs = list(zip(targets, sources, strict=True))
        self._small = [pair for pair in pairs if not _is_large(pair[1])]
        self._pieces = sorted(
            piece for pair in pairs if _is_large(pair[1]) for piece in _pieces(*pair)
        )
        self._shared = iter(enumerate(self._pieces))
        self._is_copied = [False] * len(self._pieces)
        self._first_missing = 0
        self._end = -math.inf
        """All that lies before this address is copied."""
        self._has_failed = False
        self._changed = threading.Condition()

    def run(self) -> None:
        """Copy, together with those that help."""
        try:
            if self._small:
                small_targets, small_sources = zip(*self._small, strict=True)
                with torch.no_grad():
                    torch._foreach_copy_(small_targets, small_sources)
            self._small = []
            self._advance()
            self.help()
        except BaseException:
            with self._changed:
                self._has_failed = True
                self._changed.notify_all()
            raise

    def help(self) -> None:
        """Copy pieces until none is left."""
        for index, (to, from_, num_bytes) in self._shared:
            ctypes.memmove(to, from_, num_bytes)
            self._is_copied[index] = True
            self._advance()

    def wait_for(self, address: int) -> None:
        """Return once all that lies before this address is copied.

        Raises:
            CheckpointError: It never will be.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._has_failed or self._end >= address)
            if self._end < address:
                raise CheckpointError("the state could not be copied")

    def _advance(self) -> None:
        with self._changed:
            if self._small:  # they may lie anywhere
                return
            while self._first_missing < len(self._pieces) and self._is_copied[self._first_missing]:
                self._first_missing += 1
            is_whole = self._first_missing == len(self._pieces)
            self._end = math.inf if is_whole else self._pieces[self._first_missing][0]
            self._changed.notify_all()


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

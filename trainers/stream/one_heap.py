"""Keep a process that streams volumes from growing."""

from __future__ import annotations

import ctypes

_M_ARENA_MAX = -8


def use_one_heap() -> None:
    """Have glibc's new threads share a heap.

    With one for each, decoded chunks that stay in the cache lie scattered among what samples have
    left behind, and memory grows to twice of what is in use; with one it does not, and is no
    slower.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(_M_ARENA_MAX, 1)

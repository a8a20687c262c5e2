"""Work on a file in pieces, several at a time."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

CHUNK_BYTES = 16 * 2**20

T = TypeVar("T")


def num_chunks(num_bytes: int) -> int:
    return -(-num_bytes // CHUNK_BYTES)


def chunk_ranges(num_bytes: int) -> list[tuple[int, int]]:
    """Where each piece starts and ends, in bytes; the last one may be shorter."""
    return [
        (start, min(start + CHUNK_BYTES, num_bytes)) for start in range(0, num_bytes, CHUNK_BYTES)
    ]


def each_chunk(num_bytes: int, work: Callable[[int, int], T], *, num_threads: int) -> list[T]:
    """The results of `work(start, end)` for each piece, in order, worked out by several threads.

    Raises:
        Exception: What the first piece to fail has raised; those after it may be left out.
    """
    ranges = chunk_ranges(num_bytes)
    if len(ranges) <= 1:
        return [work(*each) for each in ranges]
    with ThreadPoolExecutor(num_threads) as pool:
        return list(pool.map(lambda each: work(*each), ranges))

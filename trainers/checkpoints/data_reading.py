"""Read a file at the speed of the disk, and compare it with its hashes on the way."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable

import xxhash

from trainers.checkpoints.aligned_memory import PAGE_BYTES, fill
from trainers.checkpoints.chunks import each_chunk
from trainers.checkpoints.file_record import FileRecord

NUM_THREADS = 8
"""They wait for the disk, most of the time; fewer leave it idle while they hash."""
_STEP_BYTES = 2**20
"""Little enough to be still in the processor's caches when it is hashed."""


def read_data(
    descriptor: int,
    record: FileRecord,
    view_for: Callable[[int, int], memoryview],
    *,
    direct: int | None = None,
    num_threads: int = NUM_THREADS,
) -> None:
    """Read a whole file, and compare each piece of it with its hash.

    Args:
        direct: A descriptor of the same file that reads past the page cache: it is used for pieces
            that have to come from the disk, which then takes two thirds of the time.
        view_for: Gives the memory for what lies between two bytes; called by all threads.

    Raises:
        DamagedCheckpointError: The content is not what was written.
        OSError: The file cannot be read, or ends before.
    """

    def read_chunk(start: int, end: int) -> None:
        view = view_for(start, end)
        done = 0
        if direct is not None and not _is_cached(descriptor, view, start):
            done = _fill_directly(direct, view, start)
        hashing = xxhash.xxh3_128(view[:done])
        for at in range(done, len(view), _STEP_BYTES):
            step = view[at : at + _STEP_BYTES]
            fill(descriptor, step, start + at)
            hashing.update(step)
        record.check_chunk(start, end, hashing.hexdigest())

    each_chunk(record.num_bytes, read_chunk, num_threads=num_threads)


def _is_cached(descriptor: int, view: memoryview, start: int) -> bool:
    """Whether the page cache has the beginning of a piece, or the file system cannot tell."""
    try:
        os.preadv(descriptor, [view[:1]], start, os.RWF_NOWAIT)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def _fill_directly(direct: int, view: memoryview, start: int) -> int:
    """Read the whole pages of a piece; how many bytes that were, 0 if it is refused."""
    num_bytes = len(view) - len(view) % PAGE_BYTES
    try:
        fill(direct, view[:num_bytes], start)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        return 0
    return num_bytes

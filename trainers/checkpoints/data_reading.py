"""Read a file at the speed of the disk, and compare it with its hashes on the way."""

from __future__ import annotations

from collections.abc import Callable

import xxhash

from trainers.checkpoints.aligned_memory import fill
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
    num_threads: int = NUM_THREADS,
) -> None:
    """Read a whole file, and compare each piece of it with its hash.

    Args:
        view_for: Gives the memory for what lies between two bytes; called by all threads.

    Raises:
        DamagedCheckpointError: The content is not what was written.
        OSError: The file cannot be read, or ends before.
    """

    def read_chunk(start: int, end: int) -> None:
        view = view_for(start, end)
        hashing = xxhash.xxh3_128()
        for at in range(0, len(view), _STEP_BYTES):
            step = view[at : at + _STEP_BYTES]
            fill(descriptor, step, start + at)
            hashing.update(step)
        record.check_chunk(start, end, hashing.hexdigest())

    each_chunk(record.num_bytes, read_chunk, num_threads=num_threads)

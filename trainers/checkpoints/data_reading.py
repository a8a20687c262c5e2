"""Read a file at the speed of the disk, and compare it with its hashes on the way."""

from __future__ import annotations

from collections.abc import Callable

import xxhash

from trainers.checkpoints.aligned_memory import fill
from trainers.checkpoints.chunks import chunk_ranges
from trainers.checkpoints.file_record import FileRecord

_STEP_BYTES = 4 * 2**20
"""Little enough to be still in the processor's caches when it is hashed."""


def read_data(
    descriptor: int,
    record: FileRecord,
    view_for: Callable[[int, int], memoryview],
    make_ready: Callable[[memoryview], object] = lambda view: None,
) -> None:
    """Read a whole file, from front to back, and compare each piece of it with its hash.

    One thread does it all: with several of them a disk has to jump, which costs more than they
    gain.

    Args:
        view_for: Gives the memory for what lies between two bytes.
        make_ready: Called with each part of the memory before it is read into.

    Raises:
        DamagedCheckpointError: The content is not what was written.
        OSError: The file cannot be read, or ends before.
    """
    for start, end in chunk_ranges(record.num_bytes):
        view = view_for(start, end)
        hashing = xxhash.xxh3_128()
        for at in range(0, len(view), _STEP_BYTES):
            step = view[at : at + _STEP_BYTES]
            make_ready(step)
            fill(descriptor, step, start + at)
            hashing.update(step)
        record.check_chunk(start, end, hashing.hexdigest())

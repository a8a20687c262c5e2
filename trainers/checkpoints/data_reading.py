"""Read a file at the speed of the disk, and compare it with its hashes on the way."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from trainers.checkpoints.aligned_memory import fill
from trainers.checkpoints.chunks import chunk_ranges
from trainers.checkpoints.file_record import FileRecord

_MAX_THREADS = 4
_AHEAD_BYTES = 2**20
"""What a file system takes as one piece of advice; of more it leaves out the rest."""


def _nothing(start: int, end: int) -> None:
    """How memory is made ready that is ready."""


def read_data(
    descriptor: int,
    record: FileRecord,
    view_for: Callable[[int, int], memoryview],
    make_ready: Callable[[int, int], object] = _nothing,
) -> None:
    """Read a whole file, from front to back, and compare each piece of it with its hash.

    Reading goes from thread to thread: disks are quickest in order. Meanwhile the others hash what
    they have read, and have the file system and the memory get ready for what they will read.

    Args:
        view_for: Gives the memory for what lies between two bytes; called by the thread that is
            going to use it.
        make_ready: Called before that, with the same bytes; it may be that somebody else is using
            the memory by then.

    Raises:
        DamagedCheckpointError: The content is not what was written.
        OSError: The file cannot be read, or ends before.
    """
    ranges = chunk_ranges(record.num_bytes)
    num_threads = min(_MAX_THREADS, len(os.sched_getaffinity(0)), len(ranges))
    numbers = iter(range(len(ranges)))
    reading = threading.Lock()
    has_failed = threading.Event()

    def look_ahead(number: int) -> None:
        if number < len(ranges):
            _advise(descriptor, *ranges[number])
            make_ready(*ranges[number])

    def read_on(first: int) -> None:
        try:
            look_ahead(first)
            while not has_failed.is_set():
                with reading:
                    number = next(numbers, None)
                    if number is None:
                        return
                    start, end = ranges[number]
                    view = view_for(start, end)
                    fill(descriptor, view, start)
                record.check_chunk(start, view)
                look_ahead(number + num_threads)
        except BaseException:
            has_failed.set()
            raise

    if num_threads <= 1:
        read_on(0)
        return
    with ThreadPoolExecutor(num_threads, thread_name_prefix="checkpoint-read") as pool:
        for each in [pool.submit(read_on, first) for first in range(num_threads)]:
            each.result()


def _advise(descriptor: int, start: int, end: int) -> None:
    """Have the file system begin to read; one that is far away may need a lot at a time."""
    with suppress(OSError):
        for at in range(start, end, _AHEAD_BYTES):
            os.posix_fadvise(descriptor, at, _AHEAD_BYTES, os.POSIX_FADV_WILLNEED)

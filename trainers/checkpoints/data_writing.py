"""Write memory to a new file at the speed of the disk, and hash it on the way."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

from trainers.checkpoints.aligned_memory import PAGE_BYTES, whole_pages
from trainers.checkpoints.chunks import each_chunk
from trainers.checkpoints.file_record import FileRecord, hash_chunk

_NUM_THREADS = 2
"""The disk then has work while one of them hashes."""


def write_data(path: Path, content: memoryview, num_bytes: int) -> FileRecord:
    """Write a file past the page cache where the file system can; on return it is durable.

    Args:
        content: Of whole pages, at the start of a page; so much of it is written as is not longer
            than the file.
        num_bytes: The length of the file.

    Raises:
        OSError: The file exists, or the file system refuses.
    """
    descriptor = _create(path)
    try:

        def write_chunk(start: int, end: int) -> str:
            digest = hash_chunk(content[start:end])
            _write(descriptor, content[start : whole_pages(end)], start)
            return digest

        hashes = each_chunk(num_bytes, write_chunk, num_threads=_NUM_THREADS)
        os.ftruncate(descriptor, num_bytes)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return FileRecord(name=path.name, num_bytes=num_bytes, xxh3_128_per_16_mib=tuple(hashes))


def _create(path: Path) -> int:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    try:
        return os.open(path, flags | os.O_DIRECT, 0o666)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
    path.unlink(missing_ok=True)  # some file systems create it first and then refuse
    return os.open(path, flags, 0o666)


def _write(descriptor: int, view: memoryview, offset: int) -> None:
    done, is_buffered = 0, False
    while done < len(view):
        try:
            written = os.pwrite(descriptor, view[done:], offset + done)
        except OSError as error:
            if error.errno != errno.EINVAL or is_buffered:
                raise
            written = 0
        if written % PAGE_BYTES or not written:  # the rest cannot go past the page cache
            if is_buffered and not written:
                raise OSError(errno.EIO, "nothing could be written")
            _use_page_cache(descriptor)
            is_buffered = True
        done += written


def _use_page_cache(descriptor: int) -> None:
    flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
    fcntl.fcntl(descriptor, fcntl.F_SETFL, flags & ~os.O_DIRECT)

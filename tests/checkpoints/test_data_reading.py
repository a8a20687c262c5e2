"""Reading the file of a checkpoint's tensors, from the page cache and past it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from trainers.checkpoints.aligned_memory import PAGE_BYTES, aligned_memory, whole_pages
from trainers.checkpoints.chunks import CHUNK_BYTES
from trainers.checkpoints.data_reading import read_data
from trainers.checkpoints.data_writing import write_data
from trainers.checkpoints.errors import DamagedCheckpointError
from trainers.checkpoints.file_record import FileRecord

DATA = RIGHT = "rank-00000.safetensors"
WRONG = "rank-00001.safetensors"
SIZES = (1, PAGE_BYTES, PAGE_BYTES + 1, 2 * CHUNK_BYTES + 12_345)


def written(path: Path, num_bytes: int) -> tuple[FileRecord, bytes]:
    """A file of random bytes that is not in the page cache."""
    memory = aligned_memory(num_bytes)
    memory[:num_bytes] = os.urandom(num_bytes)
    record = write_data(path, memoryview(memory)[: whole_pages(num_bytes)], num_bytes)
    with path.open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return record, bytes(memory[:num_bytes])


@contextmanager
def opened(path: Path, flags: int = 0) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY | flags)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@pytest.mark.parametrize("num_bytes", SIZES)
@pytest.mark.parametrize("is_aligned", [True, False])
def test_past_the_page_cache_it_is_the_same(
    tmp_path: Path, num_bytes: int, is_aligned: bool
) -> None:
    """Whatever its length is; and memory that a disk cannot write to by itself will do too."""
    record, content = written(tmp_path / DATA, num_bytes)
    view = memoryview(aligned_memory(num_bytes + 1))[0 if is_aligned else 1 :]

    with opened(tmp_path / DATA) as plain, opened(tmp_path / DATA, os.O_DIRECT) as direct:
        read_data(plain, record, lambda start, end: view[start:end], direct=direct)

    assert view[:num_bytes] == content


def test_only_what_is_not_in_the_page_cache_is_read_past_it(tmp_path: Path) -> None:
    """Of two files the wrong one is given as the one past the cache: so it shows which was read."""
    num_bytes = 2 * CHUNK_BYTES
    record, _ = written(tmp_path / RIGHT, num_bytes)
    written(tmp_path / WRONG, num_bytes)
    view = memoryview(aligned_memory(num_bytes))
    with opened(tmp_path / RIGHT) as plain, opened(tmp_path / WRONG, os.O_DIRECT) as direct:
        try:
            os.preadv(plain, [bytearray(1)], 0, os.RWF_NOWAIT)
        except BlockingIOError:
            pass
        except OSError:
            pytest.skip("this file system cannot tell what is in the page cache")

        with pytest.raises(DamagedCheckpointError):
            read_data(plain, record, lambda start, end: view[start:end], direct=direct)
        (tmp_path / RIGHT).read_bytes()

        read_data(plain, record, lambda start, end: view[start:end], direct=direct)

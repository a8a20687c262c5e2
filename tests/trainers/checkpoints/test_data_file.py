"""The file of a checkpoint's tensors."""

from __future__ import annotations

import mmap
import os
import resource
import shutil
from pathlib import Path

import pytest

import trainers.checkpoints.aligned_memory as aligned_memory_module
from trainers.checkpoints.aligned_memory import PAGE_BYTES, aligned_memory, touch, whole_pages
from trainers.checkpoints.data_file import CHUNK_BYTES, each_chunk, hash_chunk, write_data

SIZES = (0, 1, PAGE_BYTES, PAGE_BYTES + 1, CHUNK_BYTES, 2 * CHUNK_BYTES + 12_345)


def random_memory(num_bytes: int) -> mmap.mmap:
    memory = aligned_memory(num_bytes)
    memory[:num_bytes] = os.urandom(num_bytes)
    return memory


@pytest.fixture(params=["disk", "memory"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A folder on a file system that writes past the page cache, and on one that may not."""
    if request.param == "disk":
        return tmp_path
    shared = Path("/dev/shm")
    if not shared.is_dir():
        pytest.skip("there is no file system in memory")
    path = shared / f"{tmp_path.parent.name}-{os.getpid()}"
    path.mkdir(exist_ok=True)
    request.addfinalizer(lambda: shutil.rmtree(path))
    return path


@pytest.mark.parametrize("num_bytes", SIZES)
def test_the_file_is_the_memory(place: Path, num_bytes: int) -> None:
    """Of any length, on any file system; the record has the hashes of what is in it."""
    memory = random_memory(num_bytes)
    path = place / "rank-00000.safetensors"

    record = write_data(path, memoryview(memory)[: whole_pages(num_bytes)], num_bytes)

    content = path.read_bytes()
    assert content == memory[:num_bytes]
    assert (record.name, record.num_bytes) == (path.name, num_bytes)
    starts = range(0, num_bytes, CHUNK_BYTES)
    assert record.xxh3_128_per_16_mib == tuple(
        hash_chunk(memoryview(content)[start : start + CHUNK_BYTES]) for start in starts
    )


def test_a_file_system_may_refuse_half_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where writing past the page cache turns out not to work, or only in part, it is given up."""
    num_bytes = 2 * CHUNK_BYTES + 12_345
    memory = random_memory(num_bytes)
    pwrite = os.pwrite

    def awkward(descriptor: int, view: memoryview, offset: int) -> int:
        return pwrite(descriptor, view[: max(1, len(view) // 2 - 1)], offset + 0)

    monkeypatch.setattr(os, "pwrite", awkward)
    path = tmp_path / "rank-00000.safetensors"
    write_data(path, memoryview(memory)[: whole_pages(num_bytes)], num_bytes)

    assert path.read_bytes() == memory[:num_bytes]


def test_a_file_is_never_written_over(tmp_path: Path) -> None:
    """A file of that name is somebody else's."""
    path = tmp_path / "rank-00000.safetensors"
    path.write_bytes(b"mine")

    with pytest.raises(FileExistsError):
        write_data(path, memoryview(aligned_memory(1)), 1)

    assert path.read_bytes() == b"mine"


@pytest.mark.parametrize("kernel", ["new", "old"])
def test_touched_memory_exists(kernel: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of it, to the last page: to write to it finds no page missing."""
    if kernel == "old":
        monkeypatch.setattr(aligned_memory_module, "_madvise", lambda *_: -1)
    memory = aligned_memory(2 * CHUNK_BYTES + 1)

    touch(memory)

    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    memory[::PAGE_BYTES] = b"x" * (2 * CHUNK_BYTES // PAGE_BYTES + 1)
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
    assert faults < 1000  # of 8193 pages
    assert memory[-1] == 0


def test_results_of_pieces_come_in_order() -> None:
    """However many threads there are."""
    pieces = each_chunk(5 * CHUNK_BYTES + 1, lambda start, end: (start, end), num_threads=3)

    assert pieces[0] == (0, CHUNK_BYTES)
    assert pieces[-1] == (5 * CHUNK_BYTES, 5 * CHUNK_BYTES + 1)
    assert pieces == sorted(pieces)

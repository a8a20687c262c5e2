"""Page-aligned memory, as O_DIRECT needs it, and reads that fill it."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
from contextlib import suppress
from pathlib import Path

from trainers.errors import CheckpointError

PAGE_BYTES = 4096
"""O_DIRECT wants buffers, offsets and lengths in multiples of the block size: 4096 at most."""
_STEP_BYTES = 16 * 2**20
_MADV_POPULATE_WRITE = 23  # Linux 5.14; `mmap` has no name for it in Python 3.11
# By ctypes, which releases the GIL: `mmap.madvise` holds it for as long as the pages take.
_madvise = ctypes.CDLL(None).madvise
_madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)


def whole_pages(num_bytes: int) -> int:
    """Return the length rounded up to whole pages."""
    return num_bytes + -num_bytes % PAGE_BYTES


def aligned_memory(num_bytes: int) -> mmap.mmap:
    """Return zeroed memory in whole pages; it is freed with the last view of it.

    Raises:
        CheckpointError: There is not enough memory.
    """
    try:
        memory = mmap.mmap(
            -1,
            max(PAGE_BYTES, whole_pages(num_bytes)),
            flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS,
        )
    except (OSError, OverflowError) as error:
        raise CheckpointError(
            f"no memory for a checkpoint of {num_bytes:,} bytes: {error}. "
            "Ask for more of it: resources.memory_gb"
        ) from error
    # Huge pages fault in in less than half the time, and O_DIRECT reads and writes them some 15 %
    # faster, since the kernel has fewer pages to pin. A kernel may be built without them.
    with suppress(OSError):
        memory.madvise(mmap.MADV_HUGEPAGE)
    return memory


def touch(memory: mmap.mmap) -> None:
    """Fault in all pages of new memory, without holding the GIL.

    The first touch of a page can cost many times what a copy costs, above all in a virtual machine:
    without this, the first checkpoint stalls training for that long.
    """
    view = memoryview(memory)
    with Path("/dev/zero").open("rb", buffering=0) as zeros:
        for start in range(0, len(view), _STEP_BYTES):
            step = view[start : start + _STEP_BYTES]
            if not populate(step):
                fill(zeros.fileno(), step, start)


def populate(view: memoryview) -> bool:
    """Fault in pages in one call; return False if the kernel is too old for that.

    Args:
        view: A part of `aligned_memory` that starts at a page.
    """
    address = ctypes.addressof(ctypes.c_char.from_buffer(view))
    return int(_madvise(address, whole_pages(len(view)), _MADV_POPULATE_WRITE)) == 0


def fill(descriptor: int, view: memoryview, offset: int) -> None:
    """Read from an offset of a file until the view is full.

    Raises:
        OSError: The file cannot be read, or ends too early.
    """
    done = 0
    while done < len(view):
        num_read = os.preadv(descriptor, [view[done:]], offset + done)
        if num_read == 0:
            raise OSError(errno.ENODATA, "it has become shorter")
        done += num_read

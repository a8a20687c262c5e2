"""Write files that a kill cannot leave half written."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from trainers.temporaries import Fence, make_final, temporary_beside, unfenced


@contextmanager
def atomic_write(path: Path, *, fence: Fence = unfenced) -> Iterator[BinaryIO]:
    """Open `path` for writing; it appears, or replaces the old file, only if the body succeeds.

    The file and its folder are flushed to disk, so that a rename survives a power failure too.

    Args:
        fence: See `temporaries`.
    """
    fence()
    temporary = temporary_beside(path)
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        make_final(temporary, path, fence)
        sync_folder(path.parent)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable: creations, renames and removals up to now."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

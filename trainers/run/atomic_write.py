"""Write files that a kill cannot leave half written."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

logger = logging.getLogger(__name__)

Fence = Callable[[], None]
"""Returns if this process may write; otherwise it raises, or ends the process."""

_PREFIX = ".tmp-"


def unfenced() -> None:
    """The fence of a process that nobody takes over from."""


def temporary_beside(path: Path) -> Path:
    """A name of its own in the same folder, for what is worthless once its process is gone."""
    return path.with_name(f"{_PREFIX}{path.name}-{uuid4().hex}")


def is_temporary(name: str) -> bool:
    """Whether a file or folder of this name is worthless once its process is gone."""
    return name.startswith(_PREFIX)


def make_final(temporary: Path, path: Path, fence: Fence) -> None:
    """Give something its final name, if this process may; a file that bears it is replaced."""
    fence()
    try:
        temporary.rename(path)
    except FileNotFoundError:
        fence()  # it may be that somebody has taken over since, and has swept it away
        raise


def sweep(folder: Path, fence: Fence) -> None:
    """Remove all that is temporary in a folder; what cannot be removed costs a warning."""
    fence()
    trash = temporary_beside(folder / "trash")
    trash.mkdir()
    fence()
    for leftover in folder.glob(f"{_PREFIX}*"):
        if leftover != trash:
            try:
                with suppress(FileNotFoundError):
                    leftover.rename(trash / leftover.name)
            except OSError as error:
                logger.warning(
                    "cannot delete %s: %s; it takes up space until that is possible",
                    leftover,
                    error,
                )
    shutil.rmtree(trash, ignore_errors=True)


@contextmanager
def atomic_write(path: Path, *, fence: Fence = unfenced) -> Iterator[BinaryIO]:
    """Open `path` for writing; it appears, or replaces the old file, only if the body succeeds.

    The file and its folder are flushed to disk, so that a rename survives a power failure too.

    Args:
        fence: Asked before the file is made, and before it gets its name.
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

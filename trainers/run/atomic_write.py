"""Atomic writes: files and folders that a kill or a power failure cannot leave half written.

Everything is written under a temporary name first, and renamed once it is complete. Before either
step a fence is asked, so that a process that lost its lease adds nothing to a run.
"""

from __future__ import annotations

import errno
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

from trainers.errors import UnavailableError
from trainers.run.failure_class import may_come_back

logger = logging.getLogger(__name__)

Fence = Callable[[], None]
"""Returns if this process may write; otherwise raises, or ends the process."""

_PREFIX = ".tmp-"


def unfenced() -> None:
    """Allow writing: the fence of a process that no other one takes over from."""


def temporary_beside(path: Path) -> Path:
    """Return a unique temporary name in the same folder, which `sweep` removes later if needed."""
    return path.with_name(f"{_PREFIX}{path.name}-{uuid4().hex}")


def is_temporary(name: str) -> bool:
    """Return whether this is a temporary name, worthless once its process has ended."""
    return name.startswith(_PREFIX)


def make_final(temporary: Path, path: Path, fence: Fence) -> None:
    """Rename to the final name, if the fence allows it; an existing file is replaced."""
    fence()
    try:
        temporary.rename(path)
    except FileNotFoundError:
        fence()  # a process that took over since may have swept it: then the fence says so
        raise


def sweep(folder: Path, fence: Fence) -> None:
    """Remove everything temporary in a folder; log a warning for what cannot be removed."""
    fence()
    # Renamed before it is deleted: from then on a writer that was taken over cannot make it final.
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

    Args:
        fence: Asked before the file is created, and before it is renamed.
    """
    fence()
    temporary = temporary_beside(path)
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        make_final(temporary, path, fence)
        sync_folder(path.parent)  # fsync of a file does not make its name durable: fsync(2)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def read_written(path: Path) -> bytes | None:
    """Return the content of a file; None if its folder is there and says that the file is not.

    Raises:
        UnavailableError: It cannot be read at present, or its folder is away.
    """
    try:
        return path.read_bytes() if path in path.parent.iterdir() else None
    except OSError as error:
        if may_come_back(error):
            raise UnavailableError(f"{path} cannot be read at present: {error.strerror}") from error
        raise


def sync_folder(folder: Path) -> None:
    """Make all creations, renames and removals in a folder so far durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def append_line(path: Path, line: bytes, *, fence: Fence = unfenced) -> None:
    """Append one line or several, in one write; after a part of a line they start a new one.

    Raises:
        OSError: The file system refuses, or takes a part of the line only.
    """
    # Unbuffered and in append mode: one write call per line, so lines of two processes do not mix.
    with path.open("a+b", buffering=0) as file:
        if _is_within_line(file):
            line = b"\n" + line
        fence()
        if file.write(line) < len(line):  # the disk is full, or the quota used up
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


def _is_within_line(file: BinaryIO) -> bool:
    """Return whether a line before was cut short, by a full disk or a kill."""
    if file.seek(0, os.SEEK_END) == 0:
        return False
    file.seek(-1, os.SEEK_END)
    return file.read(1) != b"\n"

"""Locks that end with the processes that hold them, however those end.

They are `flock` locks: the kernel releases one when the last descriptor of the open file is closed,
after SIGKILL too, so that no stale lock is ever left to clean up. POSIX locks (`lockf`) would not
do: a process loses them when it closes any descriptor of the file, and children do not inherit
them.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def hold(path: Path) -> Iterator[int]:
    """Wait for the lock and hold it while the body runs; yield the descriptor of the open file."""
    descriptor = _open(path)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)


def try_take(path: Path) -> int | None:
    """Take the lock if it is free, without waiting; None if it is taken.

    The returned descriptor holds it until it and all its copies are closed: a process that inherits
    the descriptor holds the lock too.
    """
    descriptor = _open(path)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def is_held(path: Path) -> bool:
    """Return whether a living process holds the lock."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        # Shared: two processes that ask at once must not take each other for the holder.
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)

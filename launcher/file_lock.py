"""Locks that end with the processes that hold them, however those end.

They are `flock` locks: the kernel releases one when the last descriptor of the open file is closed,
after SIGKILL too, so that no stale lock is ever left to clean up. POSIX locks (`lockf`) would not
do: a process loses them when it closes any descriptor of the file, and children do not inherit
them.

A shared file system may refuse `flock`; then a lease beside the file is held instead. One that
keeps `flock` to each node for itself (Lustre with `localflock`, NFS with `local_lock`) cannot be
told from one that shares it. No run depends on it: who trains and writes a run is a matter of its
lease, and a job leaves a run alone that is assigned to another pack.
"""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from launcher.errors import LockHeldError
from trainers.errors import LeaseHeldError, LeaseLostError
from trainers.run.lease import Lease, is_live

logger = logging.getLogger(__name__)

TIMEOUT_S = 30.0
"""How long to wait for a lock that is held only while a file is read and written."""
_POLL_S = 0.02
_UNSUPPORTED = frozenset({errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP})
_SETTLE_S = 0.05
"""After which two processes that took a lease at once can tell who has it."""


@contextmanager
def hold(path: Path, *, timeout_s: float = TIMEOUT_S) -> Iterator[int]:
    """Wait for the lock and hold it while the body runs; yield the descriptor of the open file.

    Args:
        timeout_s: 0 tries once.

    Raises:
        LockHeldError: Another process holds it for longer; the message names it.
        OSError: The file cannot be opened.
    """
    descriptor = _open(path)
    try:
        try:
            _wait(descriptor, path, timeout_s)
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                raise
            with _lease(path, timeout_s, error):
                yield descriptor
            return
        _sign(descriptor)
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
        return is_taken(descriptor)
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
        return is_live(_lease_of(path))
    finally:
        os.close(descriptor)


def is_taken(descriptor: int) -> bool:
    """Return whether a living process holds the lock of an open file.

    Raises:
        OSError: Its file system has no locks.
    """
    try:
        # Shared: two processes that ask at once must not take each other for the holder.
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False


def _open(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except PermissionError as error:
        what = f"{error.strerror}; this user cannot lock it, so ask its owner"
        raise PermissionError(error.errno, what, str(path)) from error


def _wait(descriptor: int, path: Path, timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise LockHeldError(
                    f"{path} is locked by {_holder(path)}; wait for it, or end it if it hangs"
                ) from None
            time.sleep(_POLL_S)
        else:
            return


def _sign(descriptor: int) -> None:
    """Write into the locked file who holds it, for those who wait."""
    command = " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])[:200]
    content = {"pid": os.getpid(), "host": socket.gethostname(), "since": time.time()}
    with suppress(OSError):  # a full disk: the lock holds all the same
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps({**content, "command": command}).encode(), 0)


def _holder(path: Path) -> str:
    try:
        holder = json.loads(path.read_bytes())
        since = time.strftime("%H:%M:%S", time.localtime(holder["since"]))
        return f"process {holder['pid']} on {holder['host']} since {since}: {holder['command']}"
    except (OSError, ValueError, TypeError, KeyError):  # it has not signed yet, or is an older one
        return "another process"


@contextmanager
def _lease(path: Path, timeout_s: float, refusal: OSError) -> Iterator[None]:
    """Hold a lease in place of the lock, on a file system without `flock`."""
    _warn_once(path.parent, str(refusal.strerror))
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            lease = Lease.take(_lease_of(path), owner=uuid4().hex, attempt=0)
        except LeaseHeldError as error:
            if time.monotonic() >= deadline:
                raise LockHeldError(str(error)) from None
            time.sleep(_POLL_S)
            continue
        with lease:
            time.sleep(_SETTLE_S)
            try:
                lease.check()
            except LeaseLostError:
                continue
            yield
            return


def _lease_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.lease")


_warned: set[str] = set()


def _warn_once(folder: Path, why: str) -> None:
    if why not in _warned:
        _warned.add(why)
        logger.warning(
            "the file system of %s has no flock (%s): leases take the place of locks; a mount "
            "option such as `flock` (Lustre) or `local_lock=none` (NFS) is faster",
            folder,
            why,
        )

"""What a lease rests on: a file, on file systems of all kinds, and the identity of a process."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import pwd
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from trainers.errors import ConfigError, LeaseHeldError, UnavailableError

logger = logging.getLogger(__name__)

_LOCK_TIMEOUT_S = 10.0
_NO_FLOCK = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)


def file_system_time(folder: Path) -> float:
    """Return the time on the clock that stamps files in a folder, which may be a server's."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            os.utime(file.fileno())
            return os.fstat(file.fileno()).st_mtime
    except OSError:  # a full disk, or a read-only folder
        return time.time()


def replace(path: Path, content: bytes) -> int:
    """Replace the lease's file by a new one, and return its open descriptor.

    The file is closed once before it is renamed: NFS sends its contents to the server on close.

    Raises:
        LeaseHeldError: Another process does the same, on a file system without flock.
        OSError: The file system refuses.
    """
    new = path.with_name(f".{path.name}.new")
    try:
        new.unlink(missing_ok=True)
        with new.open("xb") as file:
            file.write(content)
        descriptor = os.open(new, os.O_RDWR)
        try:
            new.replace(path)
        except OSError:
            os.close(descriptor)
            raise
    except (FileExistsError, FileNotFoundError) as error:
        if not path.parent.is_dir():
            raise
        raise LeaseHeldError(
            f"another process takes the lease on {path.parent} at the same time"
        ) from error
    return descriptor


@contextmanager
def acquiring(path: Path) -> Iterator[bool]:
    """Hold a flock while the lease is examined and taken; the kernel releases it with the process.

    Correctness does not depend on it, since some network file systems refuse flock, or heed it on
    one node only: two processes that take the lease at once still leave one holder, because the
    later one replaces the file.

    Yields whether the lease was taken before.

    Raises:
        ConfigError: A file, here or in the body, belongs to another user.
        LeaseHeldError: Another process holds the lock for too long.
    """
    lock = path.with_name(f".{path.name}.lock")
    was_taken_before = lock.exists()
    with _explaining_permissions(path), lock.open("ab") as file:
        deadline = time.monotonic() + _LOCK_TIMEOUT_S
        while not _try_lock(file.fileno(), lock):
            if time.monotonic() > deadline:
                raise LeaseHeldError(
                    f"another process hangs while it takes the lease on {path.parent}"
                )
            time.sleep(0.01)
        yield was_taken_before


def _try_lock(descriptor: int, lock: Path) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _NO_FLOCK:
            raise
        logger.warning(
            "%s: %s, so this file system has no flock; leases do without. Lustre has it with the "
            "mount option `flock`, NFS with `local_lock=none` and a running lockd",
            lock,
            error.strerror,
        )
    return True


@contextmanager
def _explaining_permissions(path: Path) -> Iterator[None]:
    try:
        yield
    except PermissionError as error:
        raise ConfigError(_refusal(error, path)) from error


def _refusal(error: PermissionError, path: Path) -> str:
    """Return whose file this user may not write, and what to do."""
    refused = Path(error.filename or path)
    try:
        owned = refused if refused.exists() else refused.parent
        owner = pwd.getpwuid(owned.stat().st_uid).pw_name
    except (OSError, KeyError):
        owner = "another user"
    return (
        f"cannot take the lease on {path.parent}: {refused} cannot be written: {error.strerror}. "
        f"It belongs to {owner}. In a shared folder all must have the same group and `umask 002`; "
        "`chmod -R g+w` mends what is there"
    )


def start_time_of(pid: int) -> int | None:
    """Return when a process started, in clock ticks since boot; None if it has ended.

    Fields 3 and 22 of /proc/PID/stat; the name before them may contain spaces and parentheses.
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    state, *numbers = text.rpartition(")")[2].split()
    return None if state in "ZX" else int(numbers[18])


@cache
def this_machine() -> str:
    """Return the boot id and the PID namespace, in which a process id means something."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{boot} {Path('/proc/self/ns/pid').readlink()}"


def gone(path: Path, seconds: float) -> UnavailableError:
    """Return the error about a lease whose file was missing for a long time."""
    folder = path.parent
    what = f"{path.name} in it" if folder.is_dir() else "it"
    return UnavailableError(
        f"{folder} cannot be written: {what} has been missing for {seconds:.0f} s. If it was "
        "deleted, that is the end of the run; if its file system is away, mount it again"
    )

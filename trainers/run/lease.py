"""Leases: at most one process writes in a folder, on whatever machine.

The holder of a lease touches the lease's file every RENEW_S. Another process may take the lease
over when the holder is dead, or, on another machine, has not touched the file for TTL_S; a later
attempt of the same owner at once, since whoever started it knows that the earlier one is over.

A holder that counts as dead may still run: it was suspended, or its node was cut off. So every
writer asks `Lease.check`, its fence, before it makes a file final: `trainers.run.atomic_write`.

Ages are measured on the clock of the file system, as the clocks of two machines may differ.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from threading import Event, Thread
from typing import Any, Self
from uuid import uuid4

import attrs
from attrs import field, frozen
from attrs.validators import instance_of

from trainers.errors import LeaseHeldError, LeaseLostError

RENEW_S = 10.0
TTL_S = 60.0
"""Six renewals: a file system that hangs for a while must not cost the lease."""
_TAKE_TIMEOUT_S = 10.0


@frozen(kw_only=True)
class LeaseRecord:
    """The holder of a lease, or its last holder."""

    token: str
    """Unique to this holder."""
    owner: str
    attempt: int = field(validator=instance_of(int))
    host: str
    machine: str
    """Boot id and PID namespace in which `pid` is valid."""
    pid: int = field(validator=instance_of(int))
    process_started: int
    """In clock ticks since boot; distinguishes the process from a later one with the same PID."""
    since: float
    released: bool = False
    renewed: float = 0.0
    """When the file was last touched, by the clock of the file system."""

    def is_live(self, *, now: float) -> bool:
        """Return whether the lease is held: not released, and its process alive.

        One on this machine may be suspended, and not renew; one elsewhere lives until it expires.

        Args:
            now: From `file_system_time`.
        """
        if self.released or self.is_on_this_machine:
            return not self.released and self.is_process_alive
        return now < self.renewed + TTL_S

    @property
    def is_on_this_machine(self) -> bool:
        """Whether the holder is or was a process on this machine, in this PID namespace."""
        return self.host == socket.gethostname() and self.machine == _this_machine()

    @property
    def is_process_alive(self) -> bool:
        """Whether the holder still runs; meaningful only if `is_on_this_machine`."""
        return _start_time_of(self.pid) == self.process_started


class Lease:
    """A lease that this process holds, from `take` to `release` or the end of the `with` block.

    A thread renews it, and checks that no other process has taken it over.
    """

    def __init__(
        self, path: Path, record: LeaseRecord, on_loss: Callable[[LeaseLostError], None]
    ) -> None:
        """Use `take`."""
        self._path = path
        self._record = record
        self._on_loss = on_loss
        self._descriptor = _replace(path, record)
        self._ended = Event()
        self._thread = Thread(target=self._keep_renewing, name="lease", daemon=True)
        self._thread.start()

    @classmethod
    def take(
        cls,
        path: Path,
        *,
        owner: str,
        attempt: int,
        on_loss: Callable[[LeaseLostError], None] = lambda error: None,
    ) -> Lease:
        """Take the lease.

        Args:
            owner: Identifies the chain of attempts that this one belongs to; a later attempt takes
                over from an earlier one at once.
            on_loss: Called when a check finds that another process has taken over; on any thread.

        Raises:
            LeaseHeldError: Another process holds it; the message names it.
        """
        with _acquiring(path):
            holder = read_lease(path)
            if holder and holder.is_live(now=file_system_time(path.parent)):
                succeeds = holder.owner == owner and holder.attempt < attempt
                if not succeeds:
                    raise LeaseHeldError(
                        f"{path.parent} is held by process {holder.pid} on {holder.host}; "
                        "wait for it, or end it with `launch cancel`"
                    )
            return cls(path, _new_record(owner, attempt), on_loss)

    def check(self) -> None:
        """Return if this process still holds the lease.

        Raises:
            LeaseLostError: Another process has taken over, or the folder is gone.
            OSError: The lease cannot be read.
        """
        holder = read_lease(self._path)
        if holder and holder.token == self._record.token:
            return
        what = f"{self._path} no longer exists"
        if holder:
            what = f"process {holder.pid} on {holder.host} has taken over"
        error = LeaseLostError(f"this process may no longer write to {self._path.parent}: {what}")
        self._on_loss(error)
        raise error

    def release(self) -> None:
        """Release the lease for others to take at once; the file still names the holder."""
        self._ended.set()
        self._thread.join()
        # By descriptor: if another process has replaced the file since, its record is not touched.
        with suppress(OSError):  # it expires after TTL_S
            os.pwrite(self._descriptor, _to_bytes(attrs.evolve(self._record, released=True)), 0)
        with suppress(OSError):
            os.close(self._descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def _keep_renewing(self) -> None:
        while not self._ended.wait(RENEW_S):
            try:
                self.check()
                os.utime(self._descriptor)
            except LeaseLostError:
                return
            except OSError:
                continue  # an outage of the file system; the lease lasts for TTL_S


def read_lease(path: Path) -> LeaseRecord | None:
    """Return the holder of a lease, or its last one; None if no process ever held it.

    The file is opened on each call: NFS checks its caches only on open (close-to-open consistency).
    """
    try:
        with path.open("rb") as file:
            renewed = os.fstat(file.fileno()).st_mtime
            return LeaseRecord(**{**json.loads(file.read()), "renewed": renewed})
    except (FileNotFoundError, NotADirectoryError, TypeError, ValueError):
        return None


def live_holder(path: Path, *, now: float | None = None) -> LeaseRecord | None:
    """Return the present holder of a lease; None if it is free.

    Args:
        now: From `file_system_time`; saves a file creation per lease when many are read.
    """
    record = read_lease(path)
    if record is None:
        return None
    now = file_system_time(path.parent) if now is None else now
    return record if record.is_live(now=now) else None


def is_live(path: Path, *, now: float | None = None) -> bool:
    """Return whether a process holds the lease; see `live_holder`."""
    return live_holder(path, now=now) is not None


def file_system_time(folder: Path) -> float:
    """Return the time on the clock that stamps files in a folder, which may be a server's."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            os.utime(file.fileno())
            return os.fstat(file.fileno()).st_mtime
    except OSError:  # a full disk, or a read-only folder
        return time.time()


@contextmanager
def _acquiring(path: Path) -> Iterator[None]:
    """Hold a flock while the lease is examined and taken; the kernel releases it with the process.

    Correctness does not depend on it, since some network file systems ignore flock: two processes
    that take the lease at once still leave one holder, because the later one replaces the file.
    """
    with path.with_name(f".{path.name}.lock").open("ab") as file:
        deadline = time.monotonic() + _TAKE_TIMEOUT_S
        while not _try_lock(file.fileno()):
            if time.monotonic() > deadline:
                raise LeaseHeldError(
                    f"another process hangs while it takes the lease on {path.parent}"
                )
            time.sleep(0.01)
        yield


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _replace(path: Path, record: LeaseRecord) -> int:
    """Replace the lease's file by a new one, and return its open descriptor.

    The file is closed once before it is renamed: NFS sends its contents to the server on close.
    """
    new = path.with_name(f".{path.name}.new")
    new.unlink(missing_ok=True)
    with new.open("xb") as file:
        file.write(_to_bytes(record))
    descriptor = os.open(new, os.O_RDWR)
    try:
        new.replace(path)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _to_bytes(record: LeaseRecord) -> bytes:
    """Return JSON of one length, "true" or "false": `release` overwrites it in place."""
    content: dict[str, Any] = attrs.asdict(record)
    del content["renewed"]
    text = json.dumps(content)
    return f"{text + ' ' * record.released}\n".encode()


def _new_record(owner: str, attempt: int) -> LeaseRecord:
    started = _start_time_of(os.getpid())
    assert started is not None
    return LeaseRecord(
        token=uuid4().hex,
        owner=owner,
        attempt=attempt,
        host=socket.gethostname(),
        machine=_this_machine(),
        pid=os.getpid(),
        process_started=started,
        since=round(time.time(), 3),
    )


def _start_time_of(pid: int) -> int | None:
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
def _this_machine() -> str:
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{boot} {Path('/proc/self/ns/pid').readlink()}"

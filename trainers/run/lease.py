"""Who may write in a folder: one process at a time, on whatever machine.

The holder of a lease keeps touching the lease's file. Somebody else may take the lease over when
the holder is dead, or has not touched the file for TTL_S; a later attempt of the same owner may at
once, since whoever has started that knows that the earlier one is over. None of this has to be so:
a process that counts as lost may go on, after a stop or on a node that is back. What keeps it from
writing is that it asks `Lease.check` before it makes anything final, see `temporaries`.

Ages are measured on the clock of the file system: those of two machines may differ.
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
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

import attrs
from attrs import field, frozen
from attrs.validators import instance_of

from trainers.errors import LeaseHeldError, LeaseLostError

RENEW_S = 10.0
TTL_S = 60.0
_TAKE_TIMEOUT_S = 10.0


@frozen(kw_only=True)
class LeaseRecord:
    """Who holds a lease, or held it last."""

    token: str
    """Of this holder alone."""
    owner: str
    attempt: int = field(validator=instance_of(int))
    host: str
    machine: str
    """The boot and the namespace of processes in which `pid` counts."""
    pid: int = field(validator=instance_of(int))
    process_started: int
    """In clock ticks since the boot; tells the process from a later one of the same number."""
    since: float
    released: bool = False
    renewed: float = 0.0
    """When the file was last touched, by the clock of the file system."""

    def is_live(self, *, now: float) -> bool:
        """Whether it keeps others away.

        Args:
            now: On the clock of the file system, see `file_system_time`.
        """
        if self.released or (self.is_here and not self.process_lives):
            return False
        return now < self.renewed + TTL_S

    @property
    def is_here(self) -> bool:
        """Whether the holder is, or was, a process that this one could see."""
        return self.host == socket.gethostname() and self.machine == _this_machine()

    @property
    def process_lives(self) -> bool:
        """Whether the holder exists; can be told only where `is_here`."""
        return _start_of(self.pid) == self.process_started


class Lease:
    """A lease that this process holds, from `take` to `release` or the end of the `with` block.

    A thread renews it, and looks whether it is still ours.
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
        """Hold the lease, or say who does.

        Args:
            owner: Names the chain of attempts that this one belongs to; a later one takes over
                from an earlier one at once.
            on_loss: Called, on any thread, by whatever notices first that somebody has taken over.

        Raises:
            LeaseHeldError: Somebody else holds it; the message names the process.
        """
        with _taking(path):
            holder = read_lease(path)
            if holder and holder.is_live(now=file_system_time(path.parent)):
                succeeds = holder.owner == owner and holder.attempt < attempt
                if not succeeds:
                    raise LeaseHeldError(
                        f"{path.parent} is held by process {holder.pid} on {holder.host}; "
                        "wait for it, or end it with `launch cancel`"
                    )
            return cls(path, _own_record(owner, attempt), on_loss)

    def check(self) -> None:
        """Return if nobody has taken over.

        Raises:
            LeaseLostError: Somebody has, or the folder is gone; `on_loss` has been told.
            OSError: It cannot be said.
        """
        holder = read_lease(self._path)
        if holder and holder.token == self._record.token:
            return
        what = f"{self._path} has gone"
        if holder:
            what = f"process {holder.pid} on {holder.host} has taken over"
        error = LeaseLostError(f"{self._path.parent} is no longer this process's to write: {what}")
        self._on_loss(error)
        raise error

    def release(self) -> None:
        """Let go of it, for others to take at once; the file still says who it was.

        Only the file that was held is written to, whoever holds the lease by now.
        """
        self._ended.set()
        self._thread.join()
        with suppress(OSError):  # it will expire
            os.pwrite(self._descriptor, _to_bytes(attrs.evolve(self._record, released=True)), 0)
        with suppress(OSError):
            os.close(self._descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.release()

    def _keep_renewing(self) -> None:
        while not self._ended.wait(RENEW_S):
            try:
                self.check()
                os.utime(self._descriptor)
            except LeaseLostError:
                return
            except OSError:
                continue  # the file system may be back next time


def read_lease(path: Path) -> LeaseRecord | None:
    """Who holds a lease, or held it last; None if nobody ever did.

    The file is opened anew: only then does a network file system say what is there now.
    """
    try:
        with path.open("rb") as file:
            renewed = os.fstat(file.fileno()).st_mtime
            return LeaseRecord(**{**json.loads(file.read()), "renewed": renewed})
    except (FileNotFoundError, NotADirectoryError, TypeError, ValueError):
        return None


def live_holder(path: Path, *, now: float | None = None) -> LeaseRecord | None:
    """Who holds a lease now.

    Args:
        now: Of `file_system_time`; for who asks about many leases at once.
    """
    record = read_lease(path)
    if record is None:
        return None
    now = file_system_time(path.parent) if now is None else now
    return record if record.is_live(now=now) else None


def is_live(path: Path, *, now: float | None = None) -> bool:
    """Whether somebody holds a lease; see `live_holder`."""
    return live_holder(path, now=now) is not None


def file_system_time(folder: Path) -> float:
    """The time on the clock that stamps files in a folder, which may be another machine's."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            os.utime(file.fileno())
            return os.fstat(file.fileno()).st_mtime
    except OSError:  # a full disk, or a folder that may only be read
        return time.time()


@contextmanager
def _taking(path: Path) -> Iterator[None]:
    """Take turns with others who want the lease; the kernel ends the turn of a process that dies.

    It decides who wins, and nothing depends on it otherwise: two who had their turns at once would
    still leave one holder, since the later one fences the other off.
    """
    with path.with_name(f".{path.name}.lock").open("ab") as file:
        deadline = time.monotonic() + _TAKE_TIMEOUT_S
        while not _try_lock(file.fileno()):
            if time.monotonic() > deadline:
                raise LeaseHeldError(f"{path.parent} is being taken by a process that hangs")
            time.sleep(0.01)
        yield


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _replace(path: Path, record: LeaseRecord) -> int:
    """Make a new file the lease; gives its open descriptor.

    It is closed once before it has its name: on a network file system others see it only then.
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
    """As JSON, of one length whether it is released or not: it is overwritten in place."""
    content: dict[str, Any] = attrs.asdict(record)
    del content["renewed"]
    text = json.dumps(content)
    return f"{text + ' ' * record.released}\n".encode()


def _own_record(owner: str, attempt: int) -> LeaseRecord:
    started = _start_of(os.getpid())
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


def _start_of(pid: int) -> int | None:
    """When a process began, in clock ticks since the boot; None if it has ended."""
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

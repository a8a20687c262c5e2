"""Leases: at most one process writes in a folder, on whatever machine.

The holder of a lease touches the lease's file every RENEW_S. Another process may take the lease
over when the holder is dead, or, on another machine, has not touched the file for TTL_S; a later
attempt of the same owner at once, since whoever started it knows that the earlier one is over.

A holder that counts as dead may still run: it was suspended, or its node was cut off. So every
writer asks `Lease.check`, its fence, before it makes a file final: `trainers.run.atomic_write`.

Ages are measured on the clock of the file system, as the clocks of two machines may differ.

A file that cannot be read, is missing for a moment or is half written says nothing about who holds
the lease: an NFS client may see that while another one renames. Only a whole record with another
token says that the lease is lost.
"""

from __future__ import annotations

import errno
import json
import os
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from threading import Event, Thread
from typing import Any, Self
from uuid import uuid4

import attrs
from attrs import field, frozen
from attrs.validators import instance_of

from trainers.errors import (
    LeaseHeldError,
    LeaseLostError,
    LeaseUnreadableError,
    UnavailableError,
)
from trainers.run.backoff import never, retry, wait
from trainers.run.failure_class import may_come_back
from trainers.run.lease_file import (
    acquiring,
    file_system_time,
    gone,
    replace,
    start_time_of,
    this_machine,
)

RENEW_S = 10.0
TTL_S = 60.0
"""Six renewals: a file system that hangs for a while must not cost the lease."""
TAKE_TIMEOUT_S = 60.0
"""How long to try while the file system is away."""
CHECK_TIMEOUT_S = 10.0
"""How long a writer waits for a file that it cannot read; it tries again later anyway."""
GONE_AFTER = 60
"""Renewals in a row that find no file, ten minutes: it was deleted. A mount may be away as long."""
_BLINK_S = 2.0
"""How long another client may see no file, or half of one, while it is replaced."""
_RELEASE_TIMEOUT_S = 5.0

OnLoss = Callable[[LeaseLostError | UnavailableError], None]


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
        return self.host == socket.gethostname() and self.machine == this_machine()

    @property
    def is_process_alive(self) -> bool:
        """Whether the holder still runs; meaningful only if `is_on_this_machine`."""
        return start_time_of(self.pid) == self.process_started


class Lease:
    """A lease that this process holds, from `take` to `release` or the end of the `with` block.

    A thread renews it, and checks that no other process has taken it over.
    """

    def __init__(self, path: Path, record: LeaseRecord, on_loss: OnLoss) -> None:
        """Use `take`."""
        self._path = path
        self._record = record
        self._on_loss = on_loss
        self._descriptor = replace(path, _to_bytes(record))
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
        on_loss: OnLoss = lambda error: None,
        should_stop: Callable[[], bool] = never,
    ) -> Lease:
        """Take the lease.

        Args:
            owner: Identifies the chain of attempts that this one belongs to; a later attempt takes
                over from an earlier one at once.
            on_loss: Called when another process has taken over, or the lease's file is gone for
                good; on any thread.
            should_stop: Polled while the file system is away.

        Raises:
            LeaseHeldError: Another process holds it; the message names it.
            ConfigError: Its files belong to another user.
            OSError: The file system refuses, or is away, for TAKE_TIMEOUT_S.
            StopRequestedError: A stop was requested while waiting.
        """
        attempt_once = partial(cls._take, path, owner, attempt, on_loss)
        return retry(
            attempt_once, timeout_s=TAKE_TIMEOUT_S, passes=may_come_back, should_stop=should_stop
        )

    @classmethod
    def _take(cls, path: Path, owner: str, attempt: int, on_loss: OnLoss) -> Lease:
        with acquiring(path) as was_taken_before:
            holder = read_lease(path)
            if holder is None and was_taken_before:
                wait(_BLINK_S)
                holder = read_lease(path)
            if holder and holder.is_live(now=file_system_time(path.parent)):
                succeeds = holder.owner == owner and holder.attempt < attempt
                if not succeeds:
                    raise LeaseHeldError(
                        f"{path.parent} is held by process {holder.pid} on {holder.host}; "
                        "wait for it, or end it with `launch cancel`"
                    )
            return cls(path, _new_record(owner, attempt), on_loss)

    def check(self, *, timeout_s: float | None = None) -> None:
        """Return if this process still holds the lease.

        Args:
            timeout_s: None is CHECK_TIMEOUT_S.

        Raises:
            LeaseLostError: Another process has taken over.
            LeaseUnreadableError: Who holds it could not be read for so long.
        """
        try:
            retry(
                self._check_once,
                timeout_s=CHECK_TIMEOUT_S if timeout_s is None else timeout_s,
                passes=lambda error: isinstance(error, OSError),
            )
        except LeaseLostError as error:
            self._on_loss(error)
            raise
        except OSError as error:
            raise LeaseUnreadableError(
                error.errno, f"{error.strerror}, so who may write is not known", str(self._path)
            ) from error

    def _check_once(self) -> None:
        holder = read_lease(self._path)
        if holder is None:
            missing = errno.ENOENT
            raise FileNotFoundError(missing, os.strerror(missing), str(self._path))
        if holder.token != self._record.token:
            raise LeaseLostError(
                f"this process may no longer write to {self._path.parent}: process {holder.pid} on "
                f"{holder.host} has taken over"
            )

    def release(self) -> None:
        """Release the lease for others to take at once; the file still names the holder."""
        self._ended.set()
        self._thread.join(_RELEASE_TIMEOUT_S)  # a file system that hangs: it expires after TTL_S

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def _keep_renewing(self) -> None:
        try:
            num_missed = 0
            while not self._ended.wait(RENEW_S):
                try:
                    self._check_once()
                    os.utime(self._path)  # a server may forget a descriptor for good: ESTALE
                except LeaseLostError as error:
                    self._on_loss(error)
                    return
                except FileNotFoundError:
                    num_missed += 1
                    if num_missed >= GONE_AFTER:
                        self._on_loss(gone(self._path, GONE_AFTER * RENEW_S))
                        return
                except OSError:
                    pass  # an outage of the file system; the lease lasts for TTL_S
                else:
                    num_missed = 0
            # By descriptor: if another process has replaced the file, its record is not touched.
            with suppress(OSError):
                os.pwrite(self._descriptor, _to_bytes(attrs.evolve(self._record, released=True)), 0)
        finally:
            with suppress(OSError):
                os.close(self._descriptor)


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


def _to_bytes(record: LeaseRecord) -> bytes:
    """Return JSON of one length, "true" or "false": `release` overwrites it in place."""
    content: dict[str, Any] = attrs.asdict(record)
    del content["renewed"]
    text = json.dumps(content)
    return f"{text + ' ' * record.released}\n".encode()


def _new_record(owner: str, attempt: int) -> LeaseRecord:
    started = start_time_of(os.getpid())
    assert started is not None
    return LeaseRecord(
        token=uuid4().hex,
        owner=owner,
        attempt=attempt,
        host=socket.gethostname(),
        machine=this_machine(),
        pid=os.getpid(),
        process_started=started,
        since=round(time.time(), 3),
    )

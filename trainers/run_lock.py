"""One process trains a run at a time."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

from trainers.errors import RunLockedError
from trainers.run_folder import RunFolder


@contextmanager
def run_lock(folder: RunFolder) -> Iterator[None]:
    """Hold the run while the body runs; the kernel lets go of it however the process ends.

    Raises:
        RunLockedError: Another process holds it; the message names it.
    """
    with folder.lease.open("a+b") as file:
        if not _take(file):
            holder = read_lease(folder)
            raise RunLockedError(
                f"{folder.path} is being trained by process {holder.get('pid', '?')} on "
                f"{holder.get('host', '?')}; wait for it, or end it with `launch cancel`"
            )
        lease = {"host": socket.gethostname(), "pid": os.getpid(), "since": round(time.time(), 3)}
        file.truncate(0)
        file.write(json.dumps(lease).encode())
        file.flush()
        yield


def _take(file: BinaryIO) -> bool:
    """Lock the file, trying for a second: a look by `is_locked` holds it for a moment."""
    for _ in range(20):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.05)
        else:
            return True
    return False


def is_locked(folder: RunFolder) -> bool:
    """Whether a living process on this machine trains the run."""
    try:
        with folder.lease.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False
    return False


def read_lease(folder: RunFolder) -> dict[str, Any]:
    """Host, pid and start of the process that holds, or held last, the run; {} if none did."""
    try:
        data = json.loads(folder.lease.read_bytes())
    except (FileNotFoundError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}

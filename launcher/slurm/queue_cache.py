"""A cache of Slurm's queue: one `squeue` for all commands and supervisors of a user on a machine.

Without it, every command and every supervisor would poll Slurm's controller, which sites forbid.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import attrs
from attrs import field, frozen

from launcher import file_lock
from launcher.errors import LockHeldError, SlurmError
from launcher.slurm import client
from launcher.slurm.jobs import QueuedJob
from launcher.slurm.this_user import user_name
from trainers.run.atomic_write import atomic_write


@frozen(kw_only=True)
class QueueSnapshot:
    """The user's jobs at one moment, or why they are unknown."""

    jobs: dict[str, QueuedJob] = field(factory=dict)
    """The pending and running ones by id, such as 12 or 12_3."""
    time: float
    """Unix time at which Slurm answered, or failed to."""
    error: str | None = None
    """Why Slurm did not answer; then the jobs are unknown."""


def queue_snapshot(max_age_s: float = 5.0, owner: int | None = None) -> QueueSnapshot:
    """Return the cached queue, or ask Slurm if the cache is older than `max_age_s`; never raise.

    Processes that ask at the same time wait for the one that asks Slurm. Errors are cached too:
    a silent controller costs one timeout, not one for each process.

    Args:
        max_age_s: 0 always asks Slurm.
        owner: The user id whose jobs to show; None for the user of this process.
    """
    user = user_name() if owner in (None, os.getuid()) else str(owner)
    path = _cache_file(user)
    asked: QueueSnapshot | None = None
    # Without a cache if the home folder is missing, full, read-only, or has no locks, or if another
    # process hangs with it.
    with suppress(OSError, LockHeldError):
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            with file_lock.hold(path.with_suffix(".lock")):
                cached = _read(path)
                if cached is not None and _is_fresh(cached, max_age_s):
                    return cached
                asked = _ask(user)
                _write(path, asked)
    return asked or _ask(user)


def _is_fresh(snapshot: QueueSnapshot, max_age_s: float) -> bool:
    """Return whether a snapshot is new enough, and not of the future after the clock was set."""
    return max_age_s > 0 and 0 <= time.time() - snapshot.time <= max_age_s


def _ask(user: str) -> QueueSnapshot:
    try:
        return QueueSnapshot(jobs=client.queued_jobs(user), time=time.time())
    except SlurmError as error:
        return QueueSnapshot(time=time.time(), error=str(error))


def _cache_file(user: str) -> Path | None:
    """Return the path of the cache, which differs by machine, user and cluster.

    None for a user without a home: `Path.home` knows only $HOME and the list of users.
    """
    try:
        home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    except RuntimeError:
        return None
    which = [os.environ.get(name, "") for name in ("SLURM_CONF", "SLURM_CLUSTERS")]
    key = hashlib.sha256("\0".join([socket.gethostname(), user, *which]).encode())
    return Path(home) / "launch" / f"queue-{key.hexdigest()[:16]}.json"


def _read(path: Path) -> QueueSnapshot | None:
    try:
        data = json.loads(path.read_bytes())
        jobs = {job_id: _job(job) for job_id, job in data.pop("jobs").items()}
        return QueueSnapshot(jobs=jobs, **data)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None  # missing, or written by another version


def _job(data: dict[str, Any]) -> QueuedJob:
    return QueuedJob(**{**data, "nodes": tuple(data["nodes"])})


def _write(path: Path, snapshot: QueueSnapshot) -> None:
    with atomic_write(path) as file:
        file.write(json.dumps(attrs.asdict(snapshot)).encode())

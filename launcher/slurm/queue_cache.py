"""What is in Slurm's queue, asked for once however many want to know."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import time
from pathlib import Path
from typing import Any

import attrs
from attrs import field, frozen

from launcher import file_lock
from launcher.errors import SlurmError
from launcher.slurm import client
from launcher.slurm.jobs import QueuedJob
from trainers.run.atomic_write import atomic_write


@frozen(kw_only=True)
class QueueSnapshot:
    """The user's jobs at one moment, or why they are not known."""

    jobs: dict[str, QueuedJob] = field(factory=dict)
    """Those that wait or run, by id, such as 12 or 12_3."""
    time: float
    """Unix time at which Slurm answered, or failed to."""
    error: str | None = None
    """What Slurm said instead; the jobs may be anything then."""


def queue_snapshot(max_age_s: float = 5.0) -> QueueSnapshot:
    """The queue as one process of the user on this machine has seen it; does not raise.

    Processes that ask at the same time wait for the one that asks Slurm.

    Args:
        max_age_s: How old the answer may be; 0 asks Slurm in any case.
    """
    path = _cache_file()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with file_lock.hold(path.with_suffix(".lock")):
            view = _read(path)
            if view is None or not max_age_s or not 0 <= time.time() - view.time <= max_age_s:
                view = _ask()
                _write(path, view)
            return view
    except OSError:  # a home that is full, or not to be written to
        return _ask()


def _ask() -> QueueSnapshot:
    try:
        return QueueSnapshot(jobs=client.queued_jobs(), time=time.time())
    except SlurmError as error:
        return QueueSnapshot(time=time.time(), error=str(error))


def _cache_file() -> Path:
    """Another one for every machine, user and cluster."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    which = [os.environ.get(name, "") for name in ("SLURM_CONF", "SLURM_CLUSTERS")]
    key = hashlib.sha256("\0".join([socket.gethostname(), client.user_name(), *which]).encode())
    return Path(home) / "launch" / f"queue-{key.hexdigest()[:16]}.json"


def _read(path: Path) -> QueueSnapshot | None:
    try:
        data = json.loads(path.read_bytes())
        jobs = {job_id: _job(job) for job_id, job in data.pop("jobs").items()}
        return QueueSnapshot(jobs=jobs, **data)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None  # of another version, or none yet


def _job(data: dict[str, Any]) -> QueuedJob:
    return QueuedJob(**{**data, "nodes": tuple(data["nodes"])})


def _write(path: Path, view: QueueSnapshot) -> None:
    with atomic_write(path) as file:
        file.write(json.dumps(attrs.asdict(view)).encode())

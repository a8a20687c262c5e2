"""What lies in a run's folder of checkpoints, and whether each of them is whole."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import Any

from attrs import frozen

from launcher.job.pack import read_events
from launcher.monitor.run_warnings import run_warnings
from trainers.checkpoints.layout import DAMAGED_PREFIX, iterations_in
from trainers.checkpoints.verification import inspect, verify
from trainers.config.config_io import read_run_config
from trainers.config.run_config import RunConfig
from trainers.errors import CheckpointError, ConfigError
from trainers.run.atomic_write import is_temporary
from trainers.run.lease import TTL_S, live_holder
from trainers.run.run_folder import RunFolder

_MAX_NEW_LOOKS = 10
_ITERATION = re.compile(r"iteration-(\d+)")


class CheckpointState(StrEnum):
    """What there is to say of a checkpoint, or of what is left of one."""

    VALID = "valid"
    NOT_VALID = "not valid"
    SET_ASIDE = "set aside"
    """Since it was damaged."""
    BEING_WRITTEN = "being written"
    BEING_DELETED = "being deleted"
    HALF_WRITTEN = "half written"
    """By a process that has died, as the next one."""
    HALF_DELETED = "half deleted"


@frozen(kw_only=True)
class SavedCheckpoint:
    """A checkpoint, or what is left of one."""

    name: str
    """Of its folder."""
    state: CheckpointState
    reason: str
    """Why it is not valid, or who is at it."""
    iteration: int | None
    num_bytes: int
    written: float
    """When, by the clock of the file system, in seconds of Unix time."""
    metrics: dict[str, float]
    """Means over the iterations that led to it."""


def find_checkpoints(
    run: RunFolder, *, verify: bool, tell: Callable[[int, int], None]
) -> list[SavedCheckpoint]:
    """All in the folder, by iteration; for one that is deleted meanwhile, those that came after it.

    Args:
        verify: Whether to read every byte, not only the manifests and the lengths of files.
        tell: Told meanwhile how many bytes were read, of how many.
    """
    names = _names(run.checkpoints)
    total = sum(_size(run.checkpoints / name)[0] for name in names if iterations_in([name]))
    look = _Look(run, _Count(total, tell) if verify else None)
    found = {name: look.at(name) for name in names}
    for _ in range(_MAX_NEW_LOOKS):
        if all(found.values()):
            break
        found = {name: found.get(name) or look.at(name) for name in _names(run.checkpoints)}
    return sorted(filter(None, found.values()), key=lambda each: (each.iteration or 0, each.name))


def judging_metric(run: RunFolder) -> str:
    """By which of the metrics a checkpoint of the run is better than another."""
    config = _config(run)
    keep_best = config.checkpoint.keep_best if config else None
    return keep_best.metric if keep_best else "loss"


def _names(folder: Path) -> list[str]:
    try:
        names = sorted(each.name for each in folder.iterdir())
    except FileNotFoundError:
        return []
    return [
        name
        for name in names
        if iterations_in([name]) or name.startswith(DAMAGED_PREFIX) or is_temporary(name)
    ]


class _Count:
    """Adds up the bytes that were read."""

    def __init__(self, total: int, tell: Callable[[int, int], None]) -> None:
        self._total = total
        self._tell = tell
        self._num_bytes = 0

    def __call__(self, num_bytes: int) -> None:
        self._num_bytes += num_bytes
        self._tell(self._num_bytes, self._total)


class _Look:
    """Looks at what is in the folder of one run."""

    def __init__(self, run: RunFolder, count: _Count | None) -> None:
        self._folder = run.checkpoints
        self._count = count
        self._run = _of_run(run)
        self._reasons = run_warnings(read_events(run.events)).damaged
        self._holder = live_holder(run.lease)

    def at(self, name: str) -> SavedCheckpoint | None:
        """What is of this name; None if it has gone."""
        metrics: dict[str, float] = {}
        if iterations_in([name]):
            state, reason, metrics = self._judged(name)
        elif name.startswith(DAMAGED_PREFIX):
            state, reason = CheckpointState.SET_ASIDE, self._reasons.get(name, "")
        else:
            state, reason = self._temporary(name)
        num_bytes, written = _size(self._folder / name)
        if written is None:
            return None
        match = _ITERATION.search(name)
        return SavedCheckpoint(
            name=name,
            state=state,
            reason=reason,
            iteration=int(match[1]) if match else None,
            num_bytes=num_bytes,
            written=written,
            metrics=metrics,
        )

    def _judged(self, name: str) -> tuple[CheckpointState, str, dict[str, float]]:
        path = self._folder / name
        try:
            if self._count is None:
                manifest = inspect(path, **self._run)
            else:
                manifest = verify(path, **self._run, on_read=self._count)
        except CheckpointError as error:
            reason = str(error.__cause__ or error)  # the path goes without saying
            return CheckpointState.NOT_VALID, reason, {}
        return CheckpointState.VALID, "", manifest.metrics

    def _temporary(self, name: str) -> tuple[CheckpointState, str]:
        path = self._folder / name
        _, folders, _ = next(os.walk(path), ("", [], []))  # unlike glob, bears that it vanishes
        is_deleted = bool(folders)
        _, written = _size(path)
        if self._holder is None or (written or 0.0) < self._holder.since - TTL_S:
            half = CheckpointState.HALF_DELETED if is_deleted else CheckpointState.HALF_WRITTEN
            return half, "by an attempt that has ended; the next one removes it"
        being = CheckpointState.BEING_DELETED if is_deleted else CheckpointState.BEING_WRITTEN
        return being, f"by process {self._holder.pid} on {self._holder.host}"


def _of_run(run: RunFolder) -> Mapping[str, Any]:
    """What says which run a checkpoint must belong to; of any, if the config cannot be read."""
    config = _config(run)
    return {"identity": config.identity, "what_counts": config.what_counts} if config else {}


def _config(run: RunFolder) -> RunConfig | None:
    try:
        return read_run_config(run.config)
    except ConfigError:
        return None


def _size(path: Path) -> tuple[int, float | None]:
    """How many bytes its files have, and when one was written last; None if it has gone."""
    try:
        own_time = path.stat().st_mtime
    except FileNotFoundError:
        return 0, None
    files = list(_stats(path))
    times = (each.st_mtime for each in files)
    return sum(each.st_size for each in files), max(times, default=own_time)


def _stats(folder: Path) -> Iterator[os.stat_result]:
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):
                yield Path(parent, name).lstat()

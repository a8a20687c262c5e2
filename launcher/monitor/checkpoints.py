"""List the checkpoints of a run, and check whether each is complete and intact."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import Any

from attrs import frozen

from launcher.monitor.find_run import config_or_none
from launcher.monitor.run_warnings import run_warnings
from launcher.os_errors import PatientReader, sentence
from trainers.checkpoints.layout import DAMAGED_PREFIX, iterations_in
from trainers.checkpoints.verification import inspect, verify
from trainers.errors import CheckpointError, DamagedCheckpointError
from trainers.run.atomic_write import is_temporary
from trainers.run.attempt_history import read_events
from trainers.run.failure_class import is_of_this_moment
from trainers.run.lease import TTL_S, live_holder
from trainers.run.run_folder import RunFolder

_MAX_RESCANS = 10
"""Retention may delete a checkpoint during a scan; each rescan looks for newer ones."""
_ITERATION = re.compile(r"iteration-(\d+)")


class CheckpointState(StrEnum):
    """The state of a checkpoint, or of what is left of one."""

    VALID = "valid"
    NOT_VALID = "not valid"
    NOT_FINITE = "not finite"
    """Whole, but with weights that are NaN or infinite: no run resumes from it."""
    UNREADABLE = "unreadable"
    """It cannot be read, now or by this user: nobody knows whether it is valid."""
    SET_ASIDE = "set aside"
    """It was damaged, and a restore has renamed it."""
    BEING_WRITTEN = "being written"
    BEING_DELETED = "being deleted"
    HALF_WRITTEN = "half written"
    """By a process that has died, like `half deleted`."""
    HALF_DELETED = "half deleted"


@frozen(kw_only=True)
class SavedCheckpoint:
    """A checkpoint, or what is left of one."""

    name: str
    """The name of its folder."""
    state: CheckpointState
    reason: str
    """Why it is not valid, or which process is writing or deleting it."""
    iteration: int | None
    num_bytes: int
    written: float
    """Unix time in seconds of the last write, on the clock of the file system."""
    metrics: dict[str, float]
    """Means over the iterations since the previous checkpoint."""


def find_checkpoints(
    run: RunFolder, *, verify: bool, on_read: Callable[[int, int], None]
) -> list[SavedCheckpoint]:
    """Return all checkpoints of a run, by iteration.

    A checkpoint that is deleted during the scan is left out, and those written since are included.

    Args:
        verify: Whether to read every byte and compare checksums, instead of only the manifests and
            the sizes of files.
        on_read: Called with the number of bytes read so far, and their total.
    """
    names = _names(run.checkpoints)
    total = sum(_size(run.checkpoints / name)[0] for name in names if iterations_in([name]))
    inspection = _Inspection(run, _Count(total, on_read) if verify else None)
    found = {name: inspection.of(name) for name in names}
    for _ in range(_MAX_RESCANS):
        if all(found.values()):
            break
        found = {name: found.get(name) or inspection.of(name) for name in _names(run.checkpoints)}
    return sorted(filter(None, found.values()), key=lambda each: (each.iteration or 0, each.name))


def judging_metric(run: RunFolder) -> str:
    """Return the metric that the best checkpoints of the run are selected by."""
    config = config_or_none(run)
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
    """Adds up the bytes that were read, and passes the sum on."""

    def __init__(self, total: int, on_read: Callable[[int, int], None]) -> None:
        self._total = total
        self._on_read = on_read
        self._num_bytes = 0

    def __call__(self, num_bytes: int) -> None:
        self._num_bytes += num_bytes
        self._on_read(self._num_bytes, self._total)


class _Inspection:
    """Inspects the entries of one run's folder of checkpoints."""

    def __init__(self, run: RunFolder, count: _Count | None) -> None:
        self._folder = run.checkpoints
        self._count = count
        self._expected = _expected_of(run)
        reader = PatientReader()
        events = reader.read_or((), lambda: list(read_events(run.events)))
        self._reasons = run_warnings(events).damaged
        self._holder = reader.read_or(None, lambda: live_holder(run.lease))

    def of(self, name: str) -> SavedCheckpoint | None:
        """Return the checkpoint of this name; None if it has been deleted."""
        metrics: dict[str, float] = {}
        if iterations_in([name]):
            state, reason, metrics = self._checked(name)
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

    def _checked(self, name: str) -> tuple[CheckpointState, str, dict[str, float]]:
        path = self._folder / name
        try:
            if self._count is None:
                manifest = inspect(path, **self._expected)
            else:
                manifest = verify(path, **self._expected, on_read=self._count)
        except CheckpointError as error:
            if refusal := _refusal(error):
                return CheckpointState.UNREADABLE, sentence(refusal), {}
            # The message without the path, which the table shows.
            return CheckpointState.NOT_VALID, str(error.__cause__ or error), {}
        state = CheckpointState.VALID if manifest.is_finite else CheckpointState.NOT_FINITE
        return state, "", manifest.metrics

    def _temporary(self, name: str) -> tuple[CheckpointState, str]:
        path = self._folder / name
        _, folders, _ = next(os.walk(path), ("", [], []))  # glob would raise if it vanishes
        is_deleted = bool(folders)
        _, written = _size(path)
        if self._holder is None or (written or 0.0) < self._holder.since - TTL_S:
            half = CheckpointState.HALF_DELETED if is_deleted else CheckpointState.HALF_WRITTEN
            return half, "by an attempt that has ended; the next one removes it"
        being = CheckpointState.BEING_DELETED if is_deleted else CheckpointState.BEING_WRITTEN
        return being, f"by process {self._holder.pid} on {self._holder.host}"


def _refusal(error: BaseException | None) -> OSError | None:
    """Return why a checkpoint cannot be read, now or by this user; None if it is damaged."""
    while error is not None and not isinstance(error, DamagedCheckpointError):
        if isinstance(error, OSError):
            is_refused = is_of_this_moment(error) or isinstance(error, PermissionError)
            return error if is_refused else None
        error = error.__cause__
    return None


def _expected_of(run: RunFolder) -> Mapping[str, Any]:
    """Return the fingerprint that the checkpoints must have; {} if the config is unreadable."""
    config = config_or_none(run)
    return (
        {"fingerprint": config.fingerprint, "fingerprint_fields": config.fingerprint_fields}
        if config
        else {}
    )


def _size(path: Path) -> tuple[int, float | None]:
    """Return the bytes of its files and the time of the last write; (0, None) if it is gone."""
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
            with suppress(OSError):
                yield Path(parent, name).lstat()

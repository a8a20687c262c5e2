"""Scalars as JSON lines: the authoritative record, which W&B is filled up from."""

from __future__ import annotations

import json
import logging
import math
import os
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from trainers.metrics.metric_writer import MetricWriter
from trainers.run.atomic_write import atomic_write
from trainers.run.run_folder import RunFolder

logger = logging.getLogger(__name__)


class JsonLinesWriter(MetricWriter):
    """Appends rows such as `{"iteration": 7, "loss": 0.25}`, one line each.

    Floats read back with the same bits. NaN and the infinities become null, since JSON has no such
    numbers; jq and `pandas.read_json(lines=True)` would refuse them.

    Rows that cannot be written stay in memory until the next row, or until `sync`, which may be
    called on another thread.

    Args:
        folder: Of the run. Its fence is asked only at the start: each attempt creates a new file,
            and an attempt that was taken over appends to the old one, which has no name any more.
        start_iteration: The first iteration of the attempt; rows from it on are removed.
    """

    def __init__(self, folder: RunFolder, *, start_iteration: int) -> None:
        self._last_iteration = _truncate(folder, start_iteration)
        self._path = folder.metrics
        self._file = self._path.open("ab", buffering=0)
        folder.fence()  # a process that took over since may have replaced the file that is open
        self._lock = threading.Lock()
        self._waiting = bytearray()
        self._is_disk_failing = False

    @property
    def last_iteration(self) -> int:
        """The iteration of the last row of earlier attempts; -1 without one."""
        return self._last_iteration

    def write(self, iteration: int, scalars: Mapping[str, float]) -> None:
        finite = {name: v if math.isfinite(v) else None for name, v in scalars.items()}
        row = {"iteration": iteration, **finite}
        line = json.dumps(row, allow_nan=False).encode() + b"\n"
        try:
            self._append(line)
        except OSError as error:
            if not self._is_disk_failing:
                logger.warning(
                    "cannot write to %s, rows are kept in memory: %s", self._path, error.strerror
                )
            self._is_disk_failing = True
        else:
            self._is_disk_failing = False

    def sync(self) -> None:
        try:
            self._append(b"")
            os.fsync(self._file.fileno())
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self._path)) from error

    def close(self, *, finished: bool, preempted: bool) -> None:
        try:
            self.sync()
        except OSError as error:
            logger.error("lost rows that are newer than the last checkpoint: %s", error)
        self._file.close()

    def _append(self, line: bytes) -> None:
        with self._lock:
            self._waiting += line
            while self._waiting:
                written = self._file.write(self._waiting)
                del self._waiting[:written]


def read_rows(path: Path) -> Iterator[tuple[int, dict[str, float]]]:
    """Yield iteration and scalars of each row; null reads as NaN, and other lines are skipped."""
    with path.open("rb") as file:
        for line in file:
            if (row := _parse(line)) is not None:
                iteration = row.pop("iteration")
                yield (
                    iteration,
                    {name: math.nan if value is None else value for name, value in row.items()},
                )


def _truncate(folder: RunFolder, start_iteration: int) -> int:
    """Drop the rows from `start_iteration` on; return the iteration of the last row that is left.

    A kill can tear the last line, which is no reason to warn. Other damaged lines are.
    """
    last, strays, damaged = -1, 0, 0
    path = folder.metrics
    path.touch()
    with path.open("rb") as old, atomic_write(path, fence=folder.fence) as new:
        for line in old:
            row = _parse(line)
            if row is None or row["iteration"] <= last:
                strays += 1
            elif row["iteration"] < start_iteration:
                new.write(line.rstrip() + b"\n")
                last, damaged = row["iteration"], strays
    if damaged:
        logger.warning("%s: dropped lines that are not rows of metrics: %d", path, damaged)
    return last


def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) and type(row.get("iteration")) is int else None

"""Scalars as JSON lines: the record that counts."""

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

    A float reads back with the same bits. NaN and the infinities become null, since the numbers of
    JSON, and so jq and `pandas.read_json(lines=True)`, have no place for them.

    Rows that the disk does not take wait in memory, until the next row comes or `sync` is called,
    which may be by another thread.

    Args:
        folder: Of the run. Its fence is not asked later on: an attempt begins a new file, and the
            one that it has taken over from goes on appending to the old one, which has no name.
        start_iteration: Where the attempt begins; the rows of it and of later ones are removed.
    """

    def __init__(self, folder: RunFolder, *, start_iteration: int) -> None:
        self._last_iteration = _cut_back(folder, start_iteration)
        self._path = folder.metrics
        self._file = self._path.open("ab", buffering=0)
        folder.fence()  # or it may be the file of the next attempt that was opened
        self._lock = threading.Lock()
        self._waiting = bytearray()
        self._is_cut_off = False

    @property
    def last_iteration(self) -> int:
        """The last iteration that earlier attempts have left a row of; -1 if there is none."""
        return self._last_iteration

    def write(self, iteration: int, scalars: Mapping[str, float]) -> None:
        finite = {name: v if math.isfinite(v) else None for name, v in scalars.items()}
        row = {"iteration": iteration, **finite}
        line = json.dumps(row, allow_nan=False).encode() + b"\n"
        try:
            self._append(line)
        except OSError as error:
            if not self._is_cut_off:
                logger.warning("rows wait until %s takes them: %s", self._path, error.strerror)
            self._is_cut_off = True
        else:
            self._is_cut_off = False

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
            logger.error("rows are lost, of which no checkpoint knows: %s", error)
        self._file.close()

    def _append(self, line: bytes) -> None:
        with self._lock:
            self._waiting += line
            while self._waiting:
                written = self._file.write(self._waiting)
                del self._waiting[:written]


def read_rows(path: Path) -> Iterator[tuple[int, dict[str, float]]]:
    """Iteration and scalars of every row; null reads as NaN, and what is no row is left out."""
    with path.open("rb") as file:
        for line in file:
            if (row := _parse(line)) is not None:
                iteration = row.pop("iteration")
                yield (
                    iteration,
                    {name: math.nan if value is None else value for name, value in row.items()},
                )


def _cut_back(folder: RunFolder, start_iteration: int) -> int:
    """Leave the rows before `start_iteration`; the result is the iteration of the last of them.

    A kill can tear the last line. Lines that are damaged in any other way are dropped aloud.
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
        logger.warning("%s: lines dropped as they are no rows of metrics: %d", path, damaged)
    return last


def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) and type(row.get("iteration")) is int else None

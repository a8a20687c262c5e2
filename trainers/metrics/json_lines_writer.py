"""Scalars as JSON lines: the authoritative record, which W&B is filled up from."""

from __future__ import annotations

import io
import json
import logging
import math
import os
import threading
from collections.abc import Mapping

from trainers.metrics.metric_writer import MetricWriter
from trainers.run.atomic_write import atomic_write
from trainers.run.metric_rows import parse_row
from trainers.run.record_writer import RecordWriter
from trainers.run.run_folder import RunFolder

logger = logging.getLogger(__name__)


MAX_WAITING_BYTES = 64 * 2**20
"""Of rows in memory: an outage of hours at ten rows a second."""
_MAX_WRITTEN_BYTES = 2**20
"""Flushed to disk at the latest when there are more, since they are kept in memory until then."""
_DELAY_S = 1.0
"""Rows are written together: to wake a thread for each costs a fast training more than the row."""
SYNC_TIMEOUT_S = 60.0
"""How long a checkpoint waits for its rows; meanwhile training continues."""
CLOSE_TIMEOUT_S = 10.0
"""Within a preemption's grace."""


class JsonLinesWriter(MetricWriter):
    """Appends rows such as `{"iteration": 7, "loss": 0.25}`, one line each.

    Floats read back with the same bits. NaN and the infinities become null, since JSON has no such
    numbers; jq and `pandas.read_json(lines=True)` would refuse them.

    The file is opened and written on the thread of a `RecordWriter`. Rows that cannot be written
    stay in memory; `sync`, which may be called on another thread, waits for them.

    Args:
        folder: Of the run. Its fence is asked only at the start: each attempt creates a new file,
            and an attempt that was taken over appends to the old one, which has no name any more.
        start_iteration: The first iteration of the attempt; rows from it on are removed.
    """

    def __init__(self, folder: RunFolder, records: RecordWriter, *, start_iteration: int) -> None:
        self._folder = folder
        self._records = records
        self._start_iteration = start_iteration
        self._path = folder.metrics
        self._file: io.FileIO | None = None
        self._last_iteration = -1
        self._lock = threading.Lock()
        self._waiting = bytearray()
        self._num_dropped = 0
        # Of the writing thread:
        self._num_durable = 0
        self._written = bytearray()  # since the last fsync
        self._is_doubtful = False
        records.put(self._path, self._open)

    @property
    def last_iteration(self) -> int:
        """The iteration of the last row of earlier attempts; -1 without one, or before `sync`."""
        return self._last_iteration

    def write(self, iteration: int, scalars: Mapping[str, float]) -> None:
        finite = {name: v if math.isfinite(v) else None for name, v in scalars.items()}
        row = {"iteration": iteration, **finite}
        line = json.dumps(row, allow_nan=False).encode() + b"\n"
        with self._lock:
            if len(self._waiting) + len(line) > MAX_WAITING_BYTES:
                self._num_dropped += 1
                return
            was_empty = not self._waiting
            self._waiting += line
        if was_empty:  # else a write of all that is waiting is on its way
            self._records.put(self._path, self._write_waiting, delay_s=_DELAY_S)

    def sync(self) -> None:
        self._records.put(self._path, self._write_durably)
        self._records.flush(SYNC_TIMEOUT_S, self._path)

    def close(self, *, finished: bool, preempted: bool) -> None:
        self._records.put(self._path, self._close)
        try:
            self._records.flush(CLOSE_TIMEOUT_S, self._path)
        except OSError as error:
            logger.error("lost rows that are newer than the last checkpoint: %s", error)

    def _open(self) -> None:
        self._last_iteration = _truncate(self._folder, self._start_iteration)
        file = self._path.open("ab", buffering=0)
        try:
            # A process that took over since may have replaced the file that is open.
            self._folder.fence()
            self._num_durable = os.fstat(file.fileno()).st_size
        except BaseException:
            file.close()
            raise
        self._file = file

    def _write_waiting(self) -> None:
        assert self._file is not None  # `_open` comes first, and is tried until it succeeds
        if self._is_doubtful:
            self._file.truncate(self._num_durable)
            with self._lock:
                self._waiting[:0] = self._written
            self._written.clear()
            self._is_doubtful = False
        while True:
            with self._lock:
                content = bytes(self._waiting)
                num_dropped, self._num_dropped = self._num_dropped, 0
            if num_dropped:
                logger.error(
                    "%s lacks rows that memory had no room for: %d", self._path, num_dropped
                )
            if not content:
                return
            num_written = self._file.write(content)
            self._written += content[:num_written]
            with self._lock:
                del self._waiting[:num_written]
            if len(self._written) > _MAX_WRITTEN_BYTES:
                self._fsync()

    def _write_durably(self) -> None:
        self._write_waiting()
        self._fsync()

    def _close(self) -> None:
        self._write_durably()
        assert self._file is not None
        self._file.close()

    def _fsync(self) -> None:
        assert self._file is not None
        try:
            os.fsync(self._file.fileno())
        except OSError:
            # The kernel may have dropped what it could not write, NFS does so over quota; and the
            # next fsync would succeed without it.
            self._is_doubtful = True
            raise
        self._num_durable += len(self._written)
        self._written.clear()


def _truncate(folder: RunFolder, start_iteration: int) -> int:
    """Drop the rows from `start_iteration` on; return the iteration of the last row that is left.

    A kill can tear the last line, which is no reason to warn. Other damaged lines are.
    """
    last, strays, damaged = -1, 0, 0
    path = folder.metrics
    path.touch()
    with path.open("rb") as old, atomic_write(path, fence=folder.fence) as new:
        for line in old:
            row = parse_row(line)
            if row is None or row["iteration"] <= last:
                strays += 1
            elif row["iteration"] < start_iteration:
                new.write(line.rstrip() + b"\n")
                last, damaged = row["iteration"], strays
    if damaged:
        logger.warning("%s: dropped lines that are not rows of metrics: %d", path, damaged)
    return last

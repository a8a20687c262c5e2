"""Read metrics.jsonl: whole, or on from an iteration while another thread or process appends."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

Row = tuple[int, dict[str, float]]
"""An iteration and its scalars; NaN stands for null."""

_SCAN_BYTES = 64 * 1024
"""What is read from its beginning rather than bisected."""


def read_rows(path: Path) -> Iterator[Row]:
    """Yield iteration and scalars of each row; null reads as NaN, and other lines are skipped."""
    with path.open("rb") as file:
        for line in file:
            if (row := parse_row(line)) is not None:
                yield to_scalars(row)


class RowReader:
    """Reads the rows after an iteration, and then those that are appended.

    Lines that are not rows, and rows that repeat an earlier iteration, are skipped. A last line
    without an end is read once it has one: its writer is at it, or was killed.

    Args:
        after: The iteration after which reading starts; -1 for all.

    Raises:
        OSError: The file cannot be read.
    """

    def __init__(self, path: Path, *, after: int) -> None:
        self._file = path.open("rb")
        self.last_iteration = after
        """Of the last row that was read."""
        self._seek(after)

    def read(self, max_rows: int) -> list[Row]:
        """Return the next rows; none at the present end of the file."""
        rows: list[Row] = []
        while len(rows) < max_rows:
            start = self._file.tell()
            line = self._file.readline()
            if not line.endswith(b"\n"):
                self._file.seek(start)
                break
            row = parse_row(line)
            if row is not None and row["iteration"] > self.last_iteration:
                self.last_iteration = row["iteration"]
                rows.append(to_scalars(row))
        return rows

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _seek(self, after: int) -> None:
        """Go to a line at or before the first row to read: iterations increase along the file."""
        low, high = 0, self._file.seek(0, 2)
        while high - low > _SCAN_BYTES:
            middle = (low + high) // 2
            self._file.seek(middle)
            self._file.readline()  # the rest of a line
            row = parse_row(self._file.readline())
            if row is not None and row["iteration"] <= after:
                low = middle
            else:
                high = middle
        self._file.seek(low)
        if low:
            self._file.readline()


def last_iteration_of(path: Path) -> int:
    """Return the iteration of the last row; -1 without one.

    Raises:
        OSError: The file cannot be read.
    """
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return -1
    with file:
        end = file.seek(0, 2)
        file.seek(max(0, end - _SCAN_BYTES))
        lines = file.read().rpartition(b"\n")[0].split(b"\n")
    for line in reversed(lines):
        if (row := parse_row(line)) is not None:
            return int(row["iteration"])
    return -1


def parse_row(line: bytes) -> dict[str, Any] | None:
    """Return what a line holds; None if it is not a row."""
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) and type(row.get("iteration")) is int else None


def to_scalars(row: dict[str, Any]) -> Row:
    """Return the iteration and the scalars of a row."""
    return row["iteration"], {
        name: math.nan if value is None else value
        for name, value in row.items()
        if name != "iteration"
    }

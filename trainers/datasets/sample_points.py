"""Read the points around which samples are taken."""

from __future__ import annotations

import csv
import math
from pathlib import Path

from trainers.datasets.formats.stored_array import SPATIAL_AXES
from trainers.errors import DataError, DataUnavailableError
from trainers.run.failure_class import may_come_back


def read_sample_points(path: Path, ndim: int) -> list[tuple[float, ...]]:
    """Read positions in nm from a CSV file with the header z,y,x (2-D: y,x).

    Raises:
        DataUnavailableError: The file cannot be read at present.
        DataError: It is malformed, or holds no point.
    """
    axes = list(SPATIAL_AXES[-ndim:])
    try:
        with path.open(newline="") as file:
            rows = [[cell.strip() for cell in row] for row in csv.reader(file)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        kind = DataUnavailableError if may_come_back(error) else DataError
        raise kind(f"{path}: cannot be read as CSV: {error}") from error
    if not rows or rows[0] != axes:
        found = ",".join(rows[0]) if rows else "an empty file"
        raise DataError(f"{path}: found {found}; the first line must be {','.join(axes)}")
    points = [_point(path, line, row, ndim) for line, row in enumerate(rows[1:], 2) if row]
    if not points:
        raise DataError(f"{path}: holds no points; expected one per line after the header")
    return points


def _point(path: Path, line: int, row: list[str], ndim: int) -> tuple[float, ...]:
    try:
        point = tuple(map(float, row))
    except ValueError:
        point = ()
    if len(point) != ndim or not all(map(math.isfinite, point)):
        raise DataError(f"{path}:{line}: found {','.join(row)}; expected {ndim} numbers, in nm")
    return point

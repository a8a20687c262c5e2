"""Open arrays as a trainer does: `python -m trainers.datasets.trial`, a process of its own.

Reads a JSON list of arrays, as `plain_info` makes them, from standard input. Writes a line of JSON
for each array as soon as it is known: its index, and what is wrong or null. An array that gives no
answer in time has no such line, but one on standard error.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import attrs

from trainers.datasets.array_info import ArrayInfo
from trainers.datasets.remote_path import volume_path
from trainers.errors import DataError, DataUnavailableError

_AT_ONCE = 8
_PATIENCE_S = 3.0
"""For opening and decoding on a file system: shorter than in a run, as people wait."""
_REMOTE_PATIENCE_S = 30.0


def plain_info(info: ArrayInfo) -> dict[str, Any]:
    """Return an array as plain data."""
    return {**attrs.asdict(info), "path": str(info.path)}


def _info(data: Mapping[str, Any]) -> ArrayInfo:
    values: dict[str, Any] = {
        key: tuple(each) if isinstance(each, list) else each for key, each in data.items()
    }
    values["path"] = volume_path(data["path"])
    return ArrayInfo(**values)


def _problem(info: ArrayInfo) -> str | None:
    """Return why an array cannot be opened, or the chunk in its middle not be decoded.

    Raises:
        DataUnavailableError: There was no answer in time, which says nothing about the array.
    """
    from trainers.datasets.read_options import Reading
    from trainers.datasets.stored_voxels import StoredVoxels

    patience_s = _PATIENCE_S if isinstance(info.path, Path) else _REMOTE_PATIENCE_S
    try:
        StoredVoxels(info, info.axes, Reading(timeout_s=patience_s))
    except DataUnavailableError:
        raise
    except DataError as error:
        return str(error)
    return None


def main() -> None:
    infos = [_info(each) for each in json.load(sys.stdin)]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        trials = {pool.submit(_problem, info): index for index, info in enumerate(infos)}
        for trial in as_completed(trials):
            try:
                problem = trial.result()
            except DataUnavailableError as error:
                sys.stderr.write(f"{error}\n")
                continue
            sys.stdout.write(json.dumps([trials[trial], problem]) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()

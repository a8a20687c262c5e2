"""Notice that a volume is not the one any more that was opened."""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import tensorstore as ts

from trainers.datasets.array_info import ArrayInfo
from trainers.datasets.reading import Reading
from trainers.datasets.remote_path import kvstore
from trainers.errors import DataError

CHECK_INTERVAL_S = 10.0

_METADATA = {
    "zarr": ".zarray",
    "zarr3": "zarr.json",
    "n5": "attributes.json",
    "neuroglancer_precomputed": "info",
}


class ReplacementWatch:
    """Looks now and then at the metadata of an array and, on a file system, at one of its chunks.

    Reads do not wait for it. Threads may share one.
    """

    def __init__(self, info: ArrayInfo, reading: Reading) -> None:
        self._info = info
        self._reading = reading
        self._lock = threading.Lock()
        self._known: dict[str, ts.KvStore.ReadResult] = {}
        self._pending: dict[str, ts.Future[Any]] = {}
        self._next_look = 0.0

    def check(self) -> None:
        """Say so if the array has been seen to be another one.

        Raises:
            DataError: It is.
        """
        if not self._lock.acquire(blocking=False):
            return
        try:
            if time.monotonic() >= self._next_look and all(
                each.done() for each in self._pending.values()
            ):
                self._compare()
                self._look()
        finally:
            self._lock.release()

    def _compare(self) -> None:
        for key, future in self._pending.items():
            with suppress(ValueError):  # who reads the voxels will say what is wrong
                found = future.result()
                known = self._known.setdefault(key, found)
                if found.state != "unspecified" and found.value != known.value:
                    raise DataError(
                        f"{self._info.path}: {key} is not what it was when the training began: "
                        "the volume was replaced or written to. Samples would be of another "
                        "volume from here on; put the old one back, or start a new run"
                    )
                if found.state != "unspecified":
                    self._known[key] = found
        self._pending = {}

    def _look(self) -> None:
        if not self._known:
            self._store = ts.KvStore.open(
                kvstore(self._info.path), context=self._reading.context
            ).result(timeout=self._reading.timeout_s)
            keys = [_METADATA[self._info.driver]]
            if isinstance(self._info.path, Path) and (chunk := _some_chunk(self._info.path)):
                keys.append(chunk)
        else:
            keys = list(self._known)
        for key in keys:
            known = self._known.get(key)
            self._pending[key] = self._store.read(
                key, if_not_equal=known.stamp.generation if known else None
            )
        self._next_look = time.monotonic() + CHECK_INTERVAL_S


def _some_chunk(folder: Path) -> str | None:
    """The name of a file of the array that is no metadata."""
    for parent, subfolders, files in os.walk(folder):
        subfolders.sort()
        for name in sorted(files):
            if not name.startswith(".") and name not in _METADATA.values():
                return str((Path(parent) / name).relative_to(folder))
    return None

"""Notice that a volume is not the one any more that was opened."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import tensorstore as ts
from attrs import frozen

from trainers.datasets.array_info import ArrayInfo
from trainers.datasets.read_options import Reading
from trainers.datasets.remote_path import RemotePath, VolumePath
from trainers.errors import DataError

CHECK_INTERVAL_S = 10.0
_HEAD_BYTES = 2**20

_METADATA = {
    "zarr": ".zarray",
    "zarr3": "zarr.json",
    "n5": "attributes.json",
    "neuroglancer_precomputed": "info",
}


@frozen
class _Seen:
    """What a file was when it was last looked at."""

    version: Any
    """Another one if the file may have changed."""
    digest: bytes
    """Of its beginning."""


class ReplacementWatch:
    """Looks now and then at the metadata of an array and, on a file system, at one of its chunks.

    What it cannot read is left to those who read the voxels. Threads may share one.
    """

    def __init__(self, info: ArrayInfo, reading: Reading) -> None:
        self._path = info.path
        self._reading = reading
        self._names = [_METADATA[info.driver]]
        if isinstance(info.path, Path) and (chunk := _some_chunk(info.path)):
            self._names.append(chunk)
        self._seen: dict[str, _Seen] = {}
        self._lock = threading.Lock()
        self._next_look = 0.0

    def check(self) -> None:
        """Look, if it is time for that.

        Raises:
            DataError: The array is another one.
        """
        if time.monotonic() < self._next_look or not self._lock.acquire(blocking=False):
            return
        try:
            for name in self._names:
                with suppress(OSError, ValueError, TimeoutError):
                    self._look(name)
            self._next_look = time.monotonic() + CHECK_INTERVAL_S
        finally:
            self._lock.release()

    def _look(self, name: str) -> None:
        before = self._seen.get(name)
        now = _look_at(self._path, name, before, self._reading)
        if before is not None and now.digest != before.digest:
            raise DataError(
                f"{self._path}: {name} is not what it was when the training began: the volume was "
                "replaced or written to. Samples would be of another volume from here on; put the "
                "old one back, or start a new run"
            )
        self._seen[name] = now


def _look_at(folder: VolumePath, name: str, before: _Seen | None, reading: Reading) -> _Seen:
    """What a file is now, which is read only if it may have changed."""
    if isinstance(folder, RemotePath):
        return _look_at_server(folder, name, before, reading)
    path = folder / name
    status = path.stat()
    version = (status.st_ino, status.st_size, status.st_mtime_ns)
    if before is not None and before.version == version:
        return before
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    return _Seen(version, hashlib.sha256(head + str(status.st_size).encode()).digest())


def _look_at_server(folder: RemotePath, name: str, before: _Seen | None, reading: Reading) -> _Seen:
    store = ts.KvStore.open(folder.kvstore, context=reading.context).result()
    known = before.version if before is not None else None
    found = store.read(name, if_not_equal=known).result(timeout=reading.timeout_s)
    if before is not None and found.state == "unspecified":
        return before
    return _Seen(found.stamp.generation, hashlib.sha256(found.value).digest())


def _some_chunk(folder: Path) -> str | None:
    """The name of a file of the array that is no metadata."""
    with os.scandir(folder) as entries:  # there may be millions: one will do
        for entry in entries:
            if entry.is_dir():
                if (inside := _some_chunk(folder / entry.name)) is not None:
                    return f"{entry.name}/{inside}"
            elif not entry.name.startswith(".") and entry.name not in _METADATA.values():
                return entry.name
    return None

"""Detect that a volume was replaced, written to, or taken away while it is being read."""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import tensorstore as ts
from attrs import frozen

from trainers.datasets.array_info import ArrayInfo
from trainers.datasets.read_options import Reading
from trainers.datasets.remote_path import RemotePath
from trainers.errors import DataError

CHECK_INTERVAL_S = 10.0
_HEAD_BYTES = 2**20
_ANSWER_S = 5.0
"""A server that takes longer to give a small file is away."""

_METADATA = {
    "zarr": ".zarray",
    "zarr3": "zarr.json",
    "n5": "attributes.json",
    "neuroglancer_precomputed": "info",
}
_DECISIVE = (
    *("zarr_format", "node_type", "shape", "chunks", "dtype", "compressor", "filters", "order"),
    *("fill_value", "dimension_separator"),
    *("data_type", "chunk_grid", "chunk_key_encoding", "codecs", "storage_transformers"),
    *("dimensions", "blockSize", "dataType", "compression", "compressionType"),
    "num_channels",
)
"""Keys of metadata that decide about voxels, in any format; others, such as attributes, may change
while a volume is read."""
_DECISIVE_ONLY = "metadata "
"""Begins the identities that leave the other keys out; earlier ones do not."""


@frozen
class _FileState:
    """A file when it was last checked."""

    version: Any
    """Inode, size and mtime, or a server's generation: if it is the same, so is the file."""
    digest: bytes
    """SHA-256 of what decides about voxels: of a chunk, the first MiB and the size."""


class ReplacementWatch:
    """A watch on the metadata of an array and, on a file system, on one of its chunks.

    Not every chunk: that would cost a `stat` per file in every read. Threads may share it.
    """

    def __init__(self, info: ArrayInfo, reading: Reading) -> None:
        self._info = info
        self._reading = reading
        self._names = [_METADATA[info.driver]]
        self._seen: dict[str, _FileState] = {}
        self._lock = threading.Lock()
        self._next_check = 0.0

    def check(self) -> None:
        """Check the files if the interval has passed and no other thread is checking.

        Files that cannot be read are ignored: reading the voxels reports that.

        Raises:
            DataError: The array is not the one that was opened.
        """
        if time.monotonic() < self._next_check or not self._lock.acquire(blocking=False):
            return
        try:
            with suppress(OSError, ValueError, TimeoutError):
                for name, now in self._states():
                    self._compare(name, now)
            self._next_check = time.monotonic() + CHECK_INTERVAL_S
        finally:
            self._lock.release()

    def make_due(self) -> None:
        """Let the next check be made whatever the interval: the volume was away."""
        self._next_check = 0.0

    def is_readable(self) -> bool:
        """Return whether the files are there right now."""
        try:
            return all(True for _ in self._states())
        except (OSError, ValueError, TimeoutError):
            return False

    def _states(self) -> Iterator[tuple[str, _FileState]]:
        if len(self._names) == 1 and isinstance(self._info.path, Path):
            self._names += _some_chunk(self._info.path)
        for name in self._names:
            yield name, _read_state(self._info, name, self._seen.get(name), self._reading)

    def _compare(self, name: str, now: _FileState) -> None:
        before = self._seen.setdefault(name, now)
        if now.digest != before.digest:
            raise DataError(
                f"{self._info.path}: {name} is not what it was when the training began: the "
                "volume was replaced or written to. Samples would be of another volume from here "
                "on; put the old one back, or start a new run"
            )
        self._seen[name] = now


def _read_state(
    info: ArrayInfo, name: str, before: _FileState | None, reading: Reading
) -> _FileState:
    """Return the state of a file now; read it only if it may have changed."""
    if isinstance(info.path, RemotePath):
        return _read_remote_state(info, info.path, name, before, reading)
    # Opened, not only looked up: NFS clients answer the latter from memory.
    with (info.path / name).open("rb", buffering=0) as file:
        status = os.fstat(file.fileno())
        version = (status.st_ino, status.st_size, status.st_mtime_ns)
        if before is not None and before.version == version:
            return before
        head = file.read() if name in _METADATA.values() else file.read(_HEAD_BYTES)
    return _FileState(version, _digest(info, name, head, status.st_size))


def _read_remote_state(
    info: ArrayInfo, folder: RemotePath, name: str, before: _FileState | None, reading: Reading
) -> _FileState:
    store = ts.KvStore.open(folder.kvstore, context=reading.context).result()
    known = before.version if before is not None else None
    found = store.read(name, if_not_equal=known).result(timeout=_ANSWER_S)
    if found.state == "missing":
        raise FileNotFoundError(f"{folder / name}: not found")
    if before is not None and found.state == "unspecified":  # `if_not_equal` held: unchanged
        return before
    return _FileState(found.stamp.generation, _digest(info, name, found.value, len(found.value)))


def _digest(info: ArrayInfo, name: str, content: bytes, size: int) -> bytes:
    """Return the digest of a file; raise a ValueError if it is torn metadata."""
    if name in _METADATA.values():
        return hashlib.sha256(_decisive(info, content)).digest()
    return hashlib.sha256(content + str(size).encode()).digest()


def _decisive(info: ArrayInfo, metadata: bytes) -> bytes:
    """Return what decides about voxels; raise a ValueError if the metadata are torn."""
    parsed = json.loads(metadata)
    kept = {key: parsed[key] for key in _DECISIVE if key in parsed}
    if info.scale_index is not None:
        kept["scales"] = parsed.get("scales", [])[info.scale_index :][:1]
    return json.dumps(kept, sort_keys=True).encode()


def _some_chunk(folder: Path) -> list[str]:
    """Return the relative path of one chunk of the array; [] if there is none."""
    with os.scandir(folder) as entries:  # not a listing: there may be millions
        for entry in entries:
            if entry.is_dir():
                if inside := _some_chunk(folder / entry.name):
                    return [f"{entry.name}/{inside[0]}"]
            elif not entry.name.startswith(".") and entry.name not in _METADATA.values():
                return [entry.name]
    return []


def is_of_today(identity: str) -> bool:
    """Return whether an identity is no earlier one, nor empty."""
    return identity.startswith(_DECISIVE_ONLY)


def volume_identity(info: ArrayInfo, known: str = "") -> str:
    """Return a digest of what decides about an array's voxels, and the name of one of its chunks.

    The digest is of metadata and of that chunk.

    Empty if the array is not on a file system, or cannot be read: reading the voxels reports that.

    Args:
        known: An earlier identity, whose chunk is looked at again; by default any chunk.
    """
    if not isinstance(info.path, Path):
        return ""
    prefix = _DECISIVE_ONLY if known.startswith(_DECISIVE_ONLY) or not known else ""
    with suppress(OSError, ValueError):
        before = known.removeprefix(prefix).partition(" ")[2]
        chunks = [before] if before else _some_chunk(info.path)
        metadata = (info.path / _METADATA[info.driver]).read_bytes()
        digest = hashlib.sha256(_decisive(info, metadata) if prefix else metadata[:_HEAD_BYTES])
        for name in chunks:
            with (info.path / name).open("rb") as file:
                digest.update(file.read(_HEAD_BYTES))
        return f"{prefix}{digest.hexdigest()[:16]} {''.join(chunks)}"
    return ""

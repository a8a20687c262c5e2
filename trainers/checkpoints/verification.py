"""Inspect and verify checkpoints without torch, and in little memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from trainers.checkpoints.checkpoint_files import DataFile, open_checkpoint
from trainers.checkpoints.data_file import CHUNK_BYTES
from trainers.checkpoints.manifest import Manifest
from trainers.checkpoints.safetensors_header import header_size, parse_header
from trainers.checkpoints.state_decoder import check_tree_structure


def inspect(
    path: Path, *, fingerprint: str | None = None, fingerprint_fields: Mapping[str, Any] = {}
) -> Manifest:
    """Return the manifest of a checkpoint whose files exist with the right lengths; read no data.

    Args:
        path: The folder of one checkpoint.
        fingerprint, fingerprint_fields: Fingerprint and its fields; see `open_checkpoint`.

    Raises:
        DamagedCheckpointError: It is not what was written.
        CheckpointError: It is of another run or schema version, or may not be read.
    """
    with open_checkpoint(
        path, fingerprint=fingerprint, fingerprint_fields=fingerprint_fields
    ) as files:
        return files.manifest


def verify(
    path: Path,
    *,
    fingerprint: str | None = None,
    fingerprint_fields: Mapping[str, Any] = {},
    on_read: Callable[[int], None] = lambda num_bytes: None,
) -> Manifest:
    """Make every check that restoring makes, and return the manifest.

    Args:
        path: The folder of one checkpoint.
        fingerprint, fingerprint_fields: Fingerprint and its fields; see `open_checkpoint`.
        on_read: Called with the number of bytes of each chunk, before it is read.

    Raises:
        DamagedCheckpointError: It is not what was written.
        CheckpointError: It is of another run or schema version, or may not be read.
    """
    with open_checkpoint(
        path, fingerprint=fingerprint, fingerprint_fields=fingerprint_fields
    ) as files:
        names = [name for file in files.data for name in _verify(file, on_read)]
        check_tree_structure(files.manifest.state, names)
        return files.manifest


def _verify(file: DataFile, on_read: Callable[[int], None]) -> list[str]:
    scratch = memoryview(bytearray(min(CHUNK_BYTES, file.record.num_bytes)))

    def view_for(start: int, end: int) -> memoryview:
        on_read(end - start)
        return scratch[: end - start]

    file.check(view_for, num_threads=1)
    size = header_size(file.read(0, 8))
    return list(parse_header(file.read(0, size), file.record.num_bytes))

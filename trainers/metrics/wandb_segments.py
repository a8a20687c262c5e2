"""What the earlier attempts at a run have left in its W&B folder, one log each."""

from __future__ import annotations

import os
import shutil
import struct
from collections.abc import Iterator
from pathlib import Path
from zlib import crc32

from wandb.proto.wandb_internal_pb2 import Record  # type: ignore[attr-defined]

FILE_HEADER_BYTES = 7
_BLOCK = 32 * 1024
_FRAGMENT = struct.Struct("<IHB")  # checksum, length, kind
_FULL, _FIRST, _LAST = 1, 2, 4


def read_records(path: Path, *, tail_bytes: int) -> Iterator[tuple[bytes, int]]:
    """The records in about the last `tail_bytes` of a log, up to the first that is torn.

    Each comes with the offset in the file at which it ends.
    """
    block_index = max(0, path.stat().st_size - tail_bytes) // _BLOCK
    with path.open("rb") as file:
        start = file.seek(block_index * _BLOCK)
        at = 0 if block_index else FILE_HEADER_BYTES
        record: bytes | None = None  # as long as its beginning has not been seen
        while block := file.read(_BLOCK):
            while at + _FRAGMENT.size <= len(block):
                checksum, length, kind = _FRAGMENT.unpack_from(block, at)
                at += _FRAGMENT.size
                part = block[at : at + length]
                at += length
                if checksum != crc32(part, crc32(bytes([kind]))):
                    return
                if kind in (_FULL, _FIRST):
                    record = b""
                if record is not None:
                    record += part
                    if kind in (_FULL, _LAST):
                        yield record, start + at
                        record = None
            start, at = start + _BLOCK, 0


_TAIL_BYTES = 2**20
"""Enough of a log to hold a row, however many records of other kinds there are."""


def last_recorded_step(folder: Path) -> int:
    """The step that `wandb sync` would bring the run to; -1 if there is none.

    On the way, logs that a kill has torn are cut to their whole records, and empty ones go: either
    would stop `wandb sync` before the logs that come after.
    """
    logs = folder.glob("*run-*/*.wandb")
    for log in sorted(logs, key=lambda log: log.stat().st_mtime_ns, reverse=True):
        step, whole_bytes = -1, 0
        for data, end in read_records(log, tail_bytes=_TAIL_BYTES):
            step, whole_bytes = _step_after(Record.FromString(data), step), end
        if whole_bytes:
            os.truncate(log, whole_bytes)
        elif log.stat().st_size <= FILE_HEADER_BYTES:
            shutil.rmtree(log.parent)
        if step >= 0:
            return step
    return -1


def mark_as_synced(folder: Path) -> None:
    """Have `wandb sync` leave out the offline logs of earlier attempts."""
    for log in folder.glob("offline-run-*/*.wandb"):
        log.with_suffix(".wandb.synced").touch()


def _step_after(record: Record, step: int) -> int:
    if record.HasField("history"):
        return int(record.history.step.num)
    if record.HasField("run") and record.run.HasField("branch_point"):
        return int(record.run.branch_point.value)
    return step

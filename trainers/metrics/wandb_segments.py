"""The transaction logs (`.wandb` files) that earlier attempts left in a run's W&B folder.

W&B has no API that reads them. The format is that of LevelDB's logs (doc/log_format.md there):
blocks of 32 KiB, and records in fragments with a header of checksum, length and type. W&B differs
by a file header of 7 bytes, and by zlib's CRC-32 as the checksum instead of a masked CRC-32C.
"""

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
_FRAGMENT = struct.Struct("<IHB")  # checksum, length, type
_FULL, _FIRST, _LAST = 1, 2, 4
_TAIL_BYTES = 2**20
"""Large enough to contain a row of scalars among records of other types."""


def read_records(path: Path, *, tail_bytes: int) -> Iterator[tuple[bytes, int]]:
    """Yield the records in about the last `tail_bytes` of a log, up to the first torn one.

    Each comes with the offset in the file at which it ends. No fragment crosses the border of a
    block, so reading can start at any block.
    """
    block_index = max(0, path.stat().st_size - tail_bytes) // _BLOCK
    with path.open("rb") as file:
        start = file.seek(block_index * _BLOCK)
        at = 0 if block_index else FILE_HEADER_BYTES
        record: bytes | None = None  # None until the first fragment of a record was seen
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


def last_recorded_step(folder: Path) -> int:
    """Return the last step that the logs hold, which `wandb sync` would reach; -1 without one.

    Also repairs the logs: torn ones are truncated to their whole records, and empty ones removed.
    Either would stop `wandb sync`, and the logs of later attempts would never be uploaded.
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
    """Mark offline logs of earlier attempts so that `wandb sync` skips them.

    Synced after an online attempt wrote the same rows, they would duplicate the history.
    """
    for log in folder.glob("offline-run-*/*.wandb"):
        log.with_suffix(".wandb.synced").touch()


def _step_after(record: Record, step: int) -> int:
    if record.HasField("history"):
        return int(record.history.step.num)
    # An attempt that starts with a rewind (`resume_from`) records its step here, before any row.
    if record.HasField("run") and record.run.HasField("branch_point"):
        return int(record.run.branch_point.value)
    return step

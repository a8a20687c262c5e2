"""Read a `.wandb` file: a log in the format of LevelDB's."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from zlib import crc32

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

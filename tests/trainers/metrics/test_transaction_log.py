"""The framing of a `.wandb` file."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import pytest

from trainers.metrics.wandb_segments import read_records

BLOCK = 32768
HEADER = b":W&B\xe1\xbe\x00"
ALL = 10**9


def write_log(path: Path, records: list[bytes]) -> None:
    """A log as W&B writes it: each record in as many fragments as there are blocks."""
    log = bytearray(HEADER)
    for record in records:
        rest, is_first = record, True
        while is_first or rest:
            room = BLOCK - len(log) % BLOCK
            if room < 7:
                log += bytes(room)
                continue
            part, rest = rest[: room - 7], rest[room - 7 :]
            kind = {(True, True): 1, (True, False): 2, (False, False): 3, (False, True): 4}[
                is_first, not rest
            ]
            checksum = zlib.crc32(bytes([kind]) + part)
            log += struct.pack("<IHB", checksum, len(part), kind) + part
            is_first = False
    path.write_bytes(log)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run.wandb"


def read(path: Path, tail_bytes: int = ALL) -> list[bytes]:
    return [record for record, _ in read_records(path, tail_bytes=tail_bytes)]


@pytest.mark.parametrize("size", [1, 1000, BLOCK - 21, BLOCK - 14, BLOCK - 8, BLOCK, 3 * BLOCK])
def test_records_come_back(path: Path, size: int) -> None:
    """Records of any size are read, across blocks and beside the gaps at their ends."""
    records = [b"a" * size, b"b" * 5, b"c" * size]
    write_log(path, records)

    assert read(path) == records


def test_offsets_are_where_records_end(path: Path) -> None:
    """A log that is cut at a record's end has exactly the records up to it."""
    records = [b"a" * 40_000, b"b", b"c" * 40_000]
    write_log(path, records)
    whole = path.read_bytes()

    ends = [end for _, end in read_records(path, tail_bytes=ALL)]

    assert ends[-1] == len(whole)
    for number, end in enumerate(ends, start=1):
        path.write_bytes(whole[:end])
        assert read(path) == records[:number]


@pytest.mark.parametrize("tail", [b"\0" * 30, b"half a record", b"\xff" * 3])
def test_reading_ends_at_a_torn_record(path: Path, tail: bytes) -> None:
    """What a kill or a power failure leaves behind the last whole record is not read."""
    write_log(path, [b"a", b"b"])
    path.write_bytes(path.read_bytes() + tail)

    assert read(path) == [b"a", b"b"]


def test_reading_ends_at_a_flipped_bit(path: Path) -> None:
    """A record whose checksum is wrong is not read."""
    write_log(path, [b"a", b"b", b"c"])
    log = bytearray(path.read_bytes())
    log[-1] ^= 1
    path.write_bytes(log)

    assert read(path) == [b"a", b"b"]


def test_the_tail_begins_with_a_whole_record(path: Path) -> None:
    """Of a long log only the end is read; a record that begins before it is left out."""
    write_log(path, [b"a" * 40_000, b"b", b"c" * 70_000, b"d"])

    assert read(path, tail_bytes=1) == [b"d"]
    assert read(path, tail_bytes=60_000) == [b"b", b"c" * 70_000, b"d"]


def test_an_empty_log_has_no_records(path: Path) -> None:
    """A run that is killed at once leaves the file's header, or nothing at all."""
    for content in (HEADER, b""):
        path.write_bytes(content)

        assert read(path) == []

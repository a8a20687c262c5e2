"""What reading a forged checkpoint costs, and what it touches."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.trainers.checkpoints import read_watched
from tests.trainers.checkpoints.forging import DATA, forge_data, forge_manifest, safetensors, tensor
from trainers.checkpoints.data_file import CHUNK_BYTES

MANY = 200_000
"""So often is repeated what takes more memory than bytes on disk."""
AT_ALL, EACH_BYTE = 16 * 2**20, 45
"""Bytes of memory that reading may take, at most."""
ADDRESS_OF_MEMORY = ("ctypes.addressof", "ctypes.cdata", "ctypes.cdata/buffer")
"""What Python calls it when the kernel is told which memory is going to be used."""


def long_state(path: Path) -> None:
    forge_data(path, safetensors({}), [[]] * MANY)


def long_metrics(path: Path) -> None:
    forge_manifest(path, metrics={str(number): 0.5 for number in range(MANY)})


def no_manifest(path: Path) -> None:
    (path / "manifest.json").write_bytes(b"[" + b"[]," * MANY + b"[]]")


def hollow_manifest(path: Path) -> None:
    os.truncate(path / "manifest.json", 2**40)


def long_header(path: Path) -> None:
    forge_data(path, safetensors(b'{"a": [' + b"[]," * MANY + b"[]]}"), None)


def many_tensors(path: Path) -> None:
    empty = tensor("U8", [0], 0, 0)
    names = [str(number) for number in range(MANY // 8)]
    header = dict.fromkeys(names, empty)
    forge_data(path, safetensors(header), [{"tensor": name} for name in names])


def many_axes(path: Path) -> None:
    header = {"a": tensor("U8", [1] * MANY, 0, 1)}
    forge_data(path, safetensors(header, b"1"), {"tensor": "a"})


def header_without_end(path: Path) -> None:
    forge_data(path, b"\xff" * 8, None)


def hollow_data(path: Path) -> None:
    """Of more bytes than there is memory, and none on disk; as many hashes as it should have."""
    os.truncate(path / DATA, 2**40)
    hashes = ["0" * 32] * (2**40 // CHUNK_BYTES)
    forge_manifest(path, files=[{"name": DATA, "num_bytes": 2**40, "xxh3_128_per_16_mib": hashes}])


@pytest.mark.parametrize(
    ("forge", "outcome"),
    [
        (long_state, "read"),
        (long_metrics, "read"),
        (no_manifest, "DamagedCheckpointError"),
        (hollow_manifest, "DamagedCheckpointError"),
        (long_header, "DamagedCheckpointError"),
        (many_tensors, "read"),
        (many_axes, "read"),
        (header_without_end, "DamagedCheckpointError"),
        (hollow_data, "CheckpointError"),
    ],
)
def test_reading_costs_no_more_than_the_size_explains(
    two_saved: Path, forge: Callable[[Path], None], outcome: str
) -> None:
    """A small multiple of what lies on disk; no code is loaded, and no other file is opened."""
    path = two_saved / "iteration-000000020"
    forge(path)
    on_disk = sum(each.stat().st_blocks * 512 for each in path.iterdir())
    command = [sys.executable, read_watched.__file__, str(two_saved), "10", "20"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}

    done = subprocess.run(
        [*command, str(AT_ALL + EACH_BYTE * on_disk)],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    )

    found = json.loads(done.stdout)
    assert found["outcome"] == outcome
    touched = {str(two_saved), str(path), "manifest.json", DATA}
    assert {about for event, about in found["events"] if event == "open"} <= touched
    events = {event for event, _ in found["events"]}
    assert events <= {"open", "os.scandir", "mmap.__new__", *ADDRESS_OF_MEMORY}

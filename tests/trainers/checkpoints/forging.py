"""Checkpoints as an attacker may make them: right hashes, wrong contents."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

from trainers.checkpoints.data_file import CHUNK_BYTES, hash_chunk
from trainers.checkpoints.manifest import with_checksum

DATA = "rank-00000.safetensors"


def record(content: bytes, **changes: Any) -> dict[str, Any]:
    """What a manifest says of the data file with this content."""
    view = memoryview(content)
    starts = range(0, len(content), CHUNK_BYTES)
    hashes = [hash_chunk(view[start : start + CHUNK_BYTES]) for start in starts]
    return {"name": DATA, "num_bytes": len(content), "xxh3_128_per_16_mib": hashes, **changes}


def forge_manifest(path: Path, **changes: Any) -> None:
    """Change the manifest of a checkpoint, its own hash included."""
    manifest = path / "manifest.json"
    content = json.loads(manifest.read_bytes())
    del content["xxh3_128"]
    manifest.write_bytes(with_checksum({**content, **changes}))


def forge_data(path: Path, content: bytes, state: Any) -> None:
    """Replace data and state of a checkpoint."""
    (path / DATA).write_bytes(content)
    forge_manifest(path, files=[record(content)], state=state)


def safetensors(header: Any, data: bytes = b"") -> bytes:
    """A file with this header; a text is taken as it is, others are padded to 8 bytes."""
    text = header
    if not isinstance(header, bytes):
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + data


def tensor(dtype: str, shape: list[Any], start: int, end: int, **more: Any) -> dict[str, Any]:
    """What a header says of a tensor."""
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end], **more}

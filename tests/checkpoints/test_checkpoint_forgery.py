"""Nothing in a checkpoint can lead anywhere, whoever wrote it."""

from __future__ import annotations

import io
import os
import pickle
from pathlib import Path
from typing import Any

import attrs
import pytest
import torch

from trainers.checkpoints import CheckpointReader
from trainers.checkpoints.errors import DamagedCheckpointError
from trainers.checkpoints.file_record import FileRecord
from trainers.checkpoints.manifest import Manifest, sealed

IDENTITY = "0123456789abcdef"


def forge(folder: Path, **changes: Any) -> None:
    """Change the manifest of the newest checkpoint, its own hash included."""
    path = folder / "iteration-000000020/manifest.json"
    manifest = Manifest.from_bytes(path.read_bytes())
    content = {
        "schema_version": 1,
        **attrs.asdict(manifest),
        **changes,
    }
    path.write_bytes(sealed(content))


def record(**changes: Any) -> dict[str, Any]:
    return {
        "name": "rank-00000.safetensors",
        "num_bytes": 4,
        "xxh3_128_per_16_mib": ["0" * 32],
        **changes,
    }


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"files": [record(name="../../secret")]}, "'name' must match regex"),
        ({"files": [record(name="/etc/passwd")]}, "'name' must match regex"),
        ({"files": [record(name="rank-00000.safetensors/../x")]}, "'name' must match regex"),
        ({"files": [record(name="rank-00000.pt")]}, "'name' must match regex"),
        ({"files": [record(name=5)]}, "expected string"),
        ({"files": [record(num_bytes=10**18)]}, "1,000,000,000,000,000,000 were written"),
        ({"files": [record(num_bytes=-1)]}, "'num_bytes' must be >= 0"),
        ({"files": [record(num_bytes="4")]}, "'num_bytes' must be <class 'int'>"),
        ({"files": [record(extra=1)]}, "unexpected keyword argument 'extra'"),
        ({"files": [{}]}, "xxh3_128_per_16_mib"),
        ({"files": 5}, "not iterable"),
        ({"files": []}, "does not describe any part of a state"),
        ({"iteration": 10**30}, "is of iteration"),
        ({"iteration": "20"}, "'iteration' must be <class 'int'>"),
        ({"environment": {"torch": []}}, "must be <class 'str'>"),
        ({"identity": None}, "'identity' must be <class 'str'>"),
        ({"surprise": 1}, "unexpected keyword argument 'surprise'"),
        ({"state": {"tensor": "other"}}, "does not describe any part of a state"),
    ],
)
def test_a_forged_manifest_is_refused(
    two_saved: Path, changes: dict[str, Any], message: str
) -> None:
    """A manifest with a right hash and wrong contents leads nowhere."""
    forge(two_saved, **changes)

    with pytest.raises(DamagedCheckpointError) as caught:
        CheckpointReader(two_saved, identity=IDENTITY).load(20)

    assert message in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [
        b"[" * 100_000,
        b'{"dict":' * 100_000,
        b"9" * 10_000,
        b"NaN",
        b"null",
        b"[]",
        b"",
        b"\xff\xfe{\0}\0",
        b'{"iteration": 1, "iteration": 2}',
    ],
    ids=lambda content: repr(content[:12]),
)
def test_a_manifest_that_is_none_is_refused(two_saved: Path, content: bytes) -> None:
    """Neither depth nor digits nor another encoding does more than make it damaged."""
    (two_saved / "iteration-000000020/manifest.json").write_bytes(content)

    with pytest.raises(DamagedCheckpointError, match=r"manifest\.json"):
        CheckpointReader(two_saved, identity=IDENTITY).load(20)


class Attack:
    """Creates a file when it is unpickled."""

    def __init__(self, witness: Path) -> None:
        self._witness = witness

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self._witness,))


def test_a_pickle_never_runs(two_saved: Path, tmp_path: Path) -> None:
    """A pickle in place of the data, hashes and all, is refused unread."""
    witness = tmp_path / "it ran"
    buffer = io.BytesIO()
    torch.save(Attack(witness), buffer)
    for content in (pickle.dumps(Attack(witness)), buffer.getvalue()):
        data = FileRecord.of("rank-00000.safetensors", memoryview(content))
        (two_saved / "iteration-000000020/rank-00000.safetensors").write_bytes(content)
        forge(two_saved, files=[attrs.asdict(data)])

        with pytest.raises(DamagedCheckpointError, match="not a readable safetensors file"):
            CheckpointReader(two_saved, identity=IDENTITY).load(20)

    assert not witness.exists()


@pytest.mark.parametrize("name", ["manifest.json", "rank-00000.safetensors"])
def test_only_regular_files_are_opened(two_saved: Path, name: str) -> None:
    """A link to elsewhere, and a pipe that would block, are refused."""
    path = two_saved / "iteration-000000020" / name
    reader = CheckpointReader(two_saved, identity=IDENTITY)
    path.unlink()

    path.symlink_to("/dev/zero")
    with pytest.raises(DamagedCheckpointError, match=f"{name} is not a regular file"):
        reader.load(20)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(DamagedCheckpointError, match=f"{name} is not a regular file"):
        reader.load(20)

"""Nothing in a tensor file can lead anywhere, whoever wrote it, and whatever the manifest says."""

from __future__ import annotations

import io
import json
import pickle
import struct
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.trainers.checkpoints.forging import forge_data, safetensors, tensor
from trainers.checkpoints import CheckpointReader
from trainers.checkpoints.verification import verify
from trainers.errors import DamagedCheckpointError

IDENTITY = "0123456789abcdef"


@pytest.fixture
def path(two_saved: Path) -> Path:
    """The newest checkpoint of a run."""
    return two_saved / "iteration-000000020"


def load(path: Path) -> Any:
    return CheckpointReader(path.parent, fingerprint=IDENTITY).load(20).state


class Attack:
    """Creates a file when it is unpickled."""

    def __init__(self, witness: Path) -> None:
        self._witness = witness

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self._witness,))


def test_a_pickle_never_runs(path: Path, tmp_path: Path) -> None:
    """A pickle in place of the data, hashes and all, is refused unread."""
    witness = tmp_path / "it ran"
    buffer = io.BytesIO()
    torch.save(Attack(witness), buffer)
    for content in (pickle.dumps(Attack(witness)), buffer.getvalue()):
        forge_data(path, content, None)

        with pytest.raises(DamagedCheckpointError, match="not a readable safetensors file"):
            load(path)

    assert not witness.exists()


F32 = tensor("F32", [2], 0, 8)
LONG = json.dumps({"a": F32}).encode()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "it is too short"),
        (b"1234567", "it is too short"),
        (struct.pack("<Q", 2**64 - 1) + LONG, "its header has 18,446,744,073,709,551,623 bytes"),
        (struct.pack("<Q", 10**9) + LONG, "its header has 1,000,000,008 bytes; allowed: 100,000,"),
        (struct.pack("<Q", len(LONG) + 9) + LONG + bytes(8), "bytes, the file"),
        (safetensors(b""), "Expecting value"),
        (safetensors(b"[]"), "its header is no JSON object"),
        (safetensors(b"[" * 100_000), "its header is nested too deeply"),
        (safetensors(b"{\xff}"), "codec can't decode"),
        (safetensors(b'{"a": ' + LONG[6:-1] + b', "a": ' + LONG[6:], bytes(8)), "stands twice"),
        (safetensors({"a": F32, "b": F32}, bytes(8)), "b lies at"),
        (safetensors({"a": F32, "b": tensor("F32", [2], 4, 12)}, bytes(12)), "b lies at"),
        (safetensors({"a": tensor("F32", [2], 4, 12)}, bytes(12)), "a lies at"),
        (safetensors({"a": F32}, bytes(9)), "its tensors end at"),
        (safetensors({"a": F32}, bytes(7)), "its tensors end at"),
        (
            safetensors({"a": tensor("F32", [2], 0, 16)}, bytes(16)),
            "not a valid entry",
        ),
        (
            safetensors({"a": tensor("F32", [2**62], 0, 8)}, bytes(8)),
            "not a valid entry",
        ),
        (safetensors({"a": tensor("F32", [0, 2**63], 0, 0)}), "not a valid entry"),
        (
            safetensors({"a": tensor("F32", [-2, -1], 0, 8)}, bytes(8)),
            "not a valid entry",
        ),
        (
            safetensors({"a": tensor("F32", [2.0], 0, 8)}, bytes(8)),
            "not a valid entry",
        ),
        (
            safetensors({"a": tensor("F32", [True, 2], 0, 8)}, bytes(8)),
            "not a valid entry",
        ),
        (
            safetensors({"a": tensor("F32", [2], -8, 0)}, bytes(8)),
            "not a valid entry",
        ),
        (
            safetensors({"a": tensor("object", [1], 0, 8)}, bytes(8)),
            "not a valid entry",
        ),
        (safetensors({"a": tensor("F32", [2], 0, 8, code="x")}, bytes(8)), "not a valid entry for"),
        (
            safetensors({"a": tensor("U8", [1], 0, 1), "b": tensor("F32", [1], 1, 5)}, bytes(5)),
            "not a valid entry",
        ),
        (safetensors({"a": 5}), "not a valid entry"),
        (safetensors(LONG, bytes(8)), "not a valid entry"),  # it is not aligned
    ],
)
def test_a_forged_tensor_file_is_refused(path: Path, content: bytes, message: str) -> None:
    """Tensors must fill the file, each in its place; all else is damage, read or verified."""
    forge_data(path, content, {"tensor": "a"})

    for use in (load, verify):
        with pytest.raises(DamagedCheckpointError) as caught:
            use(path)
        assert message in str(caught.value)
        assert len(str(caught.value)) < 1000


def test_what_stands_beside_the_tensors_is_left_alone(path: Path) -> None:
    """The format lets a header hold texts; nothing reads them."""
    header = {"__metadata__": {"__reduce__": "os.system"}, "a": F32}
    forge_data(path, safetensors(header, struct.pack("<2f", 1, 2)), {"tensor": "a"})

    assert load(path).tolist() == [1, 2]


def test_tensors_of_odd_shapes_are_restored(path: Path) -> None:
    """As many axes as one likes, and none at all, and nothing in them."""
    header = {
        "a": tensor("F32", [], 0, 4),
        "b": tensor("I64", [3, 0, 2**50], 8, 8),
        "c": tensor("U8", [1] * 1000, 8, 9),
    }
    header["b"]["data_offsets"] = [0, 0]
    header["c"]["data_offsets"] = [4, 5]
    forge_data(path, safetensors(header, bytes(5)), [{"tensor": name} for name in header])

    assert [list(each.shape) for each in load(path)] == [[], [3, 0, 2**50], [1] * 1000]

"""The data file."""

from __future__ import annotations

from pathlib import Path

import pytest
import safetensors
import safetensors.torch
import torch

from trainers.checkpoints.safetensors_bytes import from_safetensors, to_safetensors


def test_the_public_library_reads_the_file(tmp_path: Path) -> None:
    """Weights can be taken out of a checkpoint without this project."""
    path = tmp_path / "rank-00000.safetensors"
    path.write_bytes(to_safetensors({"flag": torch.tensor(True), "weight": torch.ones(2, 3)}))

    loaded = safetensors.torch.load_file(path)

    assert list(loaded) == ["weight", "flag"]
    assert loaded["weight"].tolist() == [[1.0, 1.0, 1.0], [1.0, 1.0, 1.0]]
    assert loaded["flag"].item() is True
    with safetensors.safe_open(path, framework="pt") as file:
        assert file.metadata() == {"format": "pt"}


def test_equal_tensors_give_equal_bytes() -> None:
    """Neither order nor strides of the tensors change the file."""
    weight = torch.arange(6.0).view(2, 3)

    first = to_safetensors({"weight": weight, "step": torch.tensor(4)})
    second = to_safetensors({"step": torch.tensor(4), "weight": weight.t().contiguous().t()})

    assert bytes(first) == bytes(second)


def test_the_layout_is_fixed() -> None:
    """A padded header, then the elements, the larger ones first."""
    content = bytes(
        to_safetensors(
            {"b": torch.tensor([1, 2], dtype=torch.uint8), "a": torch.tensor(-1, dtype=torch.int16)}
        )
    )

    header = (
        b'{"__metadata__": {"format": "pt"}, '
        b'"a": {"dtype": "I16", "shape": [], "data_offsets": [0, 2]}, '
        b'"b": {"dtype": "U8", "shape": [2], "data_offsets": [2, 4]}}'
    )
    assert content == b"\xf8\x0f\0\0\0\0\0\0" + header.ljust(4088) + b"\xff\xff\x01\x02"


def test_the_bytes_are_a_copy() -> None:
    """Training may change the tensors while they are being written."""
    weight = torch.ones(3)

    content = to_safetensors({"weight": weight})
    weight.zero_()

    assert from_safetensors(bytes(content))["weight"].tolist() == [1.0, 1.0, 1.0]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_tensors_on_a_gpu_are_saved() -> None:
    """A tensor on a GPU gives the bytes of its copy on the CPU."""
    weight = torch.arange(12.0).view(3, 4).t()

    on_gpu = to_safetensors({"weight": weight.cuda(), "step": torch.tensor(3, device="cuda")})

    assert bytes(on_gpu) == bytes(to_safetensors({"weight": weight, "step": torch.tensor(3)}))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x80\x05K\x01.",
        b"\xff" * 64,
        b"\x02\0\0\0\0\0\0\0[]",
        to_safetensors({"weight": torch.ones(2)}).tobytes()[:-1],
        to_safetensors({"weight": torch.ones(2)}).tobytes().replace(b'"F32"', b'"F4" '),
        to_safetensors({"weight": torch.ones(2)}).tobytes().replace(b"[2]", b"[9]"),
    ],
)
def test_other_content_is_refused(content: bytes) -> None:
    """What is no safetensors file, or claims what it does not hold, is not read."""
    with pytest.raises(ValueError, match="not a readable safetensors file"):
        from_safetensors(content)

"""Tensors as the bytes of a safetensors file."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from typing import Any

import safetensors.torch
import torch

DTYPE_NAMES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.float8_e4m3fn: "F8_E4M3",
    torch.float8_e5m2: "F8_E5M2",
    torch.complex64: "C64",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint64: "U64",
    torch.uint32: "U32",
    torch.uint16: "U16",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
RESERVED_NAME = "__metadata__"
"""What the format keeps for itself; no tensor may have this name."""

_PAGE_BYTES = 4096


def to_safetensors(tensors: Mapping[str, torch.Tensor]) -> memoryview:
    """A file's content in memory of its own: training may go on and change the tensors.

    Equal tensors give equal bytes, whatever their device, strides and order, and whatever the
    version of any library. Larger elements come first, so that each tensor lies aligned.
    """
    header: dict[str, Any] = {RESERVED_NAME: {"format": "pt"}}
    end = 0
    for name in sorted(tensors, key=lambda name: (-tensors[name].element_size(), name)):
        tensor = tensors[name]
        start, end = end, end + tensor.numel() * tensor.element_size()
        header[name] = {
            "dtype": DTYPE_NAMES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [start, end],
        }
    text = json.dumps(header, ensure_ascii=False).encode()
    text += b" " * (-(8 + len(text)) % _PAGE_BYTES)
    prefix = struct.pack("<Q", len(text)) + text

    content = torch.empty(len(prefix) + end, dtype=torch.uint8)
    view: memoryview = content.numpy().data
    view[: len(prefix)] = prefix
    data = content[len(prefix) :]
    for name, tensor in tensors.items():
        start, end = header[name]["data_offsets"]
        data[start:end].view(tensor.dtype).view(tensor.shape).copy_(tensor.detach())
    return view


def from_safetensors(data: bytes) -> dict[str, torch.Tensor]:
    """The tensors of a file's content, on the CPU, each with memory of its own.

    Raises:
        ValueError: This is not the content of a safetensors file with dtypes that torch knows.
    """
    try:
        return safetensors.torch.load(data)
    except (safetensors.SafetensorError, KeyError) as error:
        raise ValueError(f"not a readable safetensors file: {error}") from error

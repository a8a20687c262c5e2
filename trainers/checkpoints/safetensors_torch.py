"""Bytes of safetensors files as tensors of torch."""

from __future__ import annotations

import mmap

import torch

from trainers.checkpoints.safetensors_header import TensorSpan

DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "C64": torch.complex64,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U64": torch.uint64,
    "U32": torch.uint32,
    "U16": torch.uint16,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
DTYPE_NAMES = {dtype: name for name, dtype in DTYPES.items()}


def as_bytes(memory: mmap.mmap) -> torch.Tensor:
    """Return the memory as a tensor of bytes, which keeps it alive."""
    return torch.frombuffer(memory, dtype=torch.uint8)


def tensor_at(content: torch.Tensor, span: TensorSpan) -> torch.Tensor:
    """Return a tensor as a view of the file's bytes."""
    return content[span.start : span.end].view(DTYPES[span.dtype]).view(span.shape)

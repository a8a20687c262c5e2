"""The beginning of a safetensors file: which tensor lies where."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from typing import Any

from attrs import frozen

from trainers.checkpoints.aligned_memory import PAGE_BYTES

ITEM_BYTES = {
    "F64": 8,
    "F32": 4,
    "F16": 2,
    "BF16": 2,
    "F8_E4M3": 1,
    "F8_E5M2": 1,
    "C64": 8,
    "I64": 8,
    "I32": 4,
    "I16": 2,
    "I8": 1,
    "U64": 8,
    "U32": 4,
    "U16": 2,
    "U8": 1,
    "BOOL": 1,
}
"""The bytes of an element, by the names that the format has for dtypes."""
RESERVED_NAME = "__metadata__"
"""What the format keeps for itself; no tensor may have this name."""

MAX_HEADER_BYTES = 100_000_000
"""What the format allows; to parse it can take thirty times as much memory."""

_LENGTH = struct.Struct("<Q")


@frozen
class TensorSpan:
    """Where a tensor lies in a file, contiguous and in the order of its axes."""

    dtype: str
    """One of ITEM_BYTES."""
    shape: tuple[int, ...]
    start: int
    """In bytes from the beginning of the file; a multiple of the size of an element."""

    @property
    def num_items(self) -> int:
        return math.prod(self.shape)

    @property
    def end(self) -> int:
        return self.start + self.num_items * ITEM_BYTES[self.dtype]


def build_header(
    tensors: Mapping[str, tuple[str, tuple[int, ...]]],
) -> tuple[bytes, dict[str, TensorSpan]]:
    """What a file with these tensors begins with, and where it has each of them.

    The result depends on the tensors alone and not on their order. Larger elements come first, so
    that each tensor lies aligned; the header fills whole pages.

    Args:
        tensors: Dtype and shape by name.
    """
    entries: dict[str, Any] = {RESERVED_NAME: {"format": "pt"}}
    spans = {}
    at = 0
    for name in sorted(tensors, key=lambda name: (-ITEM_BYTES[tensors[name][0]], name)):
        span = spans[name] = TensorSpan(*tensors[name], at)
        at = span.end
        entries[name] = {
            "dtype": span.dtype,
            "shape": list(span.shape),
            "data_offsets": [span.start, span.end],
        }
    text = json.dumps(entries, ensure_ascii=False).encode()
    text += b" " * (-(_LENGTH.size + len(text)) % PAGE_BYTES)
    header = _LENGTH.pack(len(text)) + text
    return header, {
        name: TensorSpan(span.dtype, span.shape, len(header) + span.start)
        for name, span in spans.items()
    }


def header_size(beginning: memoryview) -> int:
    """How many bytes the header takes of a file that begins with these 8 or more bytes.

    Raises:
        ValueError: They are fewer, or it takes more than the format allows.
    """
    if len(beginning) < _LENGTH.size:
        raise ValueError("not a readable safetensors file: it is too short")
    size = _LENGTH.size + int(_LENGTH.unpack_from(beginning)[0])
    if size > MAX_HEADER_BYTES:
        raise ValueError(
            f"not a readable safetensors file: its header has {size:,} bytes; "
            f"allowed: {MAX_HEADER_BYTES:,}"
        )
    return size


def parse_header(header: memoryview, num_bytes: int) -> dict[str, TensorSpan]:
    """The inverse of `build_header`: what it returns, if the file is one that it might begin.

    The tensors must fill the rest of the file, without gaps, and none may overlap another.

    Args:
        header: The first `header_size` bytes of the file, or more.
        num_bytes: The length of the whole file.

    Raises:
        ValueError: This is no such header, or it does not fit the file.
    """
    data_start = header_size(header)
    try:
        return _parse(header, data_start, num_bytes)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not a readable safetensors file: {error}") from error


def _parse(header: memoryview, data_start: int, num_bytes: int) -> dict[str, TensorSpan]:
    if data_start > len(header):
        raise ValueError(f"its header has {data_start:,} bytes, the file {num_bytes:,}")
    entries = json.loads(
        bytes(header[_LENGTH.size : data_start]), object_pairs_hook=_without_duplicates
    )
    if not isinstance(entries, dict):
        raise ValueError("its header is no JSON object")
    entries.pop(RESERVED_NAME, None)
    spans = {name: _place(name, entry, data_start) for name, entry in entries.items()}
    at = data_start
    for name, span in sorted(spans.items(), key=lambda item: (item[1].start, item[1].end)):
        if span.start != at:
            raise ValueError(f"{name} lies at {span.start:,}, and not at {at:,}")
        at = span.end
    if at != num_bytes:
        raise ValueError(f"its tensors end at {at:,}, the file at {num_bytes:,}")
    return spans


def _place(name: str, entry: Any, data_start: int) -> TensorSpan:
    match entry:
        case {"dtype": str(dtype), "shape": list(shape), "data_offsets": [start, end], **rest} if (
            not rest
            and dtype in ITEM_BYTES
            and all(type(each) is int and each >= 0 for each in [*shape, start, end])
            and math.prod(max(1, each) for each in shape) < 2**63 // ITEM_BYTES[dtype]
            and (data_start + start) % ITEM_BYTES[dtype] == 0
        ):
            span = TensorSpan(dtype, tuple(shape), data_start + start)
            if span.end == data_start + end:
                return span
    raise ValueError(f"{str(entry)[:120]} is no span for the tensor {name[:120]!r}")


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) != len(pairs):
        raise ValueError("a name stands twice in its header")
    return content

"""Where tensors lie in a file."""

from __future__ import annotations

import json
import struct
from typing import Any

import pytest

from trainers.checkpoints.safetensors_header import TensorSpan, build_header, parse_header


def test_the_layout_is_fixed() -> None:
    """A padded header, then the elements, the larger ones first."""
    header, places = build_header({"b": ("U8", (2,)), "a": ("I16", ()), "c": ("F32", (0, 3))})

    assert header == b"\xf8\x0f\0\0\0\0\0\0" + (
        b'{"__metadata__": {"format": "pt"}, '
        b'"c": {"dtype": "F32", "shape": [0, 3], "data_offsets": [0, 0]}, '
        b'"a": {"dtype": "I16", "shape": [], "data_offsets": [0, 2]}, '
        b'"b": {"dtype": "U8", "shape": [2], "data_offsets": [2, 4]}}'
    ).ljust(4088)
    assert places == {
        "c": TensorSpan("F32", (0, 3), 4096),
        "a": TensorSpan("I16", (), 4096),
        "b": TensorSpan("U8", (2,), 4098),
    }
    assert parse_header(memoryview(header), 4100) == places


def test_the_order_of_tensors_changes_nothing() -> None:
    """Equal states of two runs give equal files."""
    first = build_header({"é": ("F32", (2,)), "a": ("F32", (3,)), "c": ("BF16", (1,))})

    assert first == build_header({"c": ("BF16", (1,)), "a": ("F32", (3,)), "é": ("F32", (2,))})


def header(*entries: tuple[str, Any]) -> memoryview:
    """A header with these entries, also several of one name."""
    text = "{" + ", ".join(f"{json.dumps(name)}: {json.dumps(each)}" for name, each in entries)
    return memoryview(struct.pack("<Q", len(text) + 1) + text.encode() + b"}")


def place(dtype: Any = "U8", shape: Any = (4,), start: Any = 0, end: Any = 4) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([("a", place()), ("a", place())], "a name stands twice"),
        ([("a", place(start=1, end=5))], "a lies at 69, and not at 68"),
        ([("a", place()), ("b", place())], "b lies at "),
        ([("a", place()), ("b", place(start=5, end=9))], "b lies at "),
        ([("a", place(shape=(3,), end=3))], "its tensors end at "),
        ([("a", place(end=5))], "not a valid entry for the tensor 'a'"),
        ([("a", place(dtype="F128"))], "not a valid entry"),
        ([("a", place(dtype=["U8"]))], "not a valid entry"),
        ([("a", place(dtype="F32", shape=(1,), start=1, end=5))], "not a valid entry"),
        ([("a", place(shape=(-4,)))], "not a valid entry"),
        ([("a", place(shape=(-2, -2)))], "not a valid entry"),
        ([("a", place(shape=(4.0,)))], "not a valid entry"),
        ([("a", place(shape=(True, 4)))], "not a valid entry"),
        ([("a", place(shape="4"))], "not a valid entry"),
        ([("a", place(shape=(0, 2**62, 2**62), end=0))], "not a valid entry"),
        ([("a", place(end=None))], "not a valid entry"),
        ([("a", {**place(), "more": 1})], "not a valid entry"),
        ([("a", 5)], "not a valid entry"),
    ],
)
def test_a_header_that_does_not_fit_is_refused(entries: list[Any], message: str) -> None:
    """Each byte of the file belongs to one tensor, whose dtype and shape say as much."""
    data = header(*entries)

    with pytest.raises(ValueError, match="not a readable safetensors file: ") as caught:
        parse_header(data, len(data) + 4)

    assert message in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [b"", b"\x80\x05K\x01.", b"\xff" * 64, b"\x02\0\0\0\0\0\0\0[]", b"\x02\0\0\0\0\0\0\0{{"],
)
def test_other_content_is_refused(content: bytes) -> None:
    """What is no safetensors file is not read."""
    with pytest.raises(ValueError, match="not a readable safetensors file"):
        parse_header(memoryview(content), len(content))

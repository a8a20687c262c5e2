"""YAML 1.2 in and out."""

from __future__ import annotations

import pytest

from trainers.config.yaml_text import dump_yaml, parse_yaml


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 0.0001),
        ("1.0e-4", 0.0001),
        (".5", 0.5),
        ("-.inf", float("-inf")),
        ("017", 17),
        ("0o17", 15),
        ("0x1F", 31),
        ("1_000", "1_000"),
        ("02:00:00", "02:00:00"),
        ("12:30", "12:30"),
        ("2026-01-01", "2026-01-01"),
        ("yes", "yes"),
        ("on", "on"),
        ("n", "n"),
        ("True", True),
        ("~", None),
        ("", None),
        ("'1'", "1"),
        ("[1, a, 'b']", [1, "a", "b"]),
    ],
)
def test_scalars_of_yaml_1_2(text, value):
    """Words mean what they mean in YAML 1.2, and so nothing turns into a number by surprise."""
    read = parse_yaml(f"key: {text}").data["key"]

    assert read == value
    assert type(read) is type(value)
    assert parse_yaml(dump_yaml({"key": value})).data == {"key": value}


def test_values_know_their_lines():
    """Every value has the line of its key, or of its own if it stands in a list."""
    text = "first: 1\nsecond:\n  - a\n  - {deep: [1,\n      2]}\n"

    assert parse_yaml(text).lines == {
        (): 1,
        ("first",): 1,
        ("second",): 2,
        ("second", 0): 3,
        ("second", 1): 4,
        ("second", 1, "deep"): 4,
        ("second", 1, "deep", 0): 4,
        ("second", 1, "deep", 1): 5,
    }


def test_keys_are_text():
    """A key is never a number or a truth value, so that JSON can hold the same data."""
    assert parse_yaml("{1: a, yes: b, null: c}").data == {"1": "a", "yes": "b", "null": "c"}

"""Which keys of the configs of several runs differ."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

_OF_THE_RUN = ("name", "experiment")
"""They name a run, and are shown as such."""
ABSENT = object()
"""The value of a key that a config does not have."""


def differing_keys(configs: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Return the values of the dotted keys that differ, one value per config, in their order.

    Lists of plain values are compared as a whole, so `input_shape` is one key.

    Args:
        configs: Plain data, as in `config.yaml`.
    """
    found: dict[str, list[Any]] = {}
    readable = [config for config in configs if config]
    if len(readable) < len(configs):
        kept = {key: iter(values) for key, values in differing_keys(readable).items()}
        return {
            key: [next(values) if config else ABSENT for config in configs]
            for key, values in kept.items()
        }
    trimmed = [
        {key: value for key, value in config.items() if key not in _OF_THE_RUN}
        for config in configs
    ]
    # A trainer carries the name of its experiment, which is no choice of its own.
    names = [config.get("experiment", ABSENT) for config in configs]
    _collect(trimmed, (), found)
    if found.get("trainer.name") == names:
        del found["trainer.name"]
    return found


def _collect(values: Sequence[Any], key: tuple[str, ...], found: dict[str, list[Any]]) -> None:
    first = values[0] if values else None
    if all(_is_same(value, first) for value in values):
        return
    present = [value for value in values if value is not ABSENT]
    if all(isinstance(value, dict) for value in present):
        parts: list[Any] = list(dict.fromkeys(part for value in present for part in value))
        tables = [value if value is not ABSENT else {} for value in values]
    elif _are_lists_of_tables(present) and len(present) == len(values):
        parts = list(range(len(present[0])))
        tables = [dict(enumerate(value)) for value in values]
    else:
        found[".".join(key)] = list(values)
        return
    for part in parts:
        _collect([table.get(part, ABSENT) for table in tables], (*key, str(part)), found)


def _are_lists_of_tables(values: Sequence[Any]) -> bool:
    return all(
        isinstance(value, list)
        and len(value) == len(values[0])
        and all(isinstance(each, dict) for each in value)
        for value in values
    )


def _is_same(one: Any, other: Any) -> bool:
    """Return whether two values are equal; 1, 1.0 and true are three values."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_is_same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_is_same, one, other))
    return type(one) is type(other) and one == other


def short_labels(keys: Sequence[str], *, taken: Collection[str] = ()) -> list[str]:
    """Return the last part of each dotted key, with as many before it as tell the keys apart.

    Args:
        taken: What no key is called, unless that is all there is of it.
    """
    labels = []
    for key in keys:
        parts = key.split(".")
        others = [other.split(".") for other in keys if other != key]
        length = 1
        while (
            length < len(parts)
            and (
                any(other[-length:] == parts[-length:] for other in others)
                or parts[-length].isdecimal()  # a position in a list says nothing by itself
                or ".".join(parts[-length:]) in taken
            )
        ):
            length += 1
        labels.append(".".join(parts[-length:]))
    return labels


def show_value(value: Any) -> str:
    """Return a value of a config as a config has it; a key that is absent as `-`."""
    if value is ABSENT:
        return "-"
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        return f"{value:.12g}" if math.isfinite(value) else str(value)
    return json.dumps(value, ensure_ascii=False, default=str)


def show_number(value: float | None) -> str:
    """Return a measured number with four digits; `-` if there is none."""
    return "-" if value is None else f"{value:.4g}"

"""Differences between two configs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from attrs import frozen

_ABSENT = object()
_OF_READING = re.compile(
    r"datasets\.\d+\.(raw|gt|mask)"
    r"\.(scale|axes|time|channel|voxel_size_nm|offset_nm|offset_is)"
)
"""Keys that say how the files of an array are understood."""


@frozen
class Difference:
    """A value that differs."""

    key: str
    before: str
    after: str

    def __str__(self) -> str:
        return f"{self.key}: was {self.before}, is {self.after}"


def differences(before: Any, after: Any, key: str = "") -> Iterator[Difference]:
    """Yield the differences between plain data, by dotted keys, in the order of the keys."""
    if isinstance(before, dict) and isinstance(after, dict):
        parts: Any = {**before, **after}
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        before, after = dict(enumerate(before)), dict(enumerate(after))
        parts = before
    elif before == after:
        return
    else:
        yield Difference(key, _show(before), _show(after))
        return
    for part in parts:
        below = f"{key}.{part}" if key else str(part)
        yield from differences(before.get(part, _ABSENT), after.get(part, _ABSENT), below)


def are_new_words(found: Iterable[Difference]) -> bool:
    """Return whether all that differs between two configs are words about the files of arrays.

    They stand where there were none: what was read from the files may be as they say. Whoever
    accepts such a config compares how the arrays are understood.
    """
    return all(
        _OF_READING.fullmatch(each.key) and each.before in ("absent", "None") for each in found
    )


def _show(value: Any) -> str:
    return "absent" if value is _ABSENT else repr(value)

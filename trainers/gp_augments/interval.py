"""Check intervals of which values are drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from attrs import Attribute


def is_interval(_: object, __: Attribute[Any], value: tuple[float, ...]) -> None:
    """An attrs validator: two numbers, of which the second is not the smaller one."""
    if len(value) != 2 or value[0] > value[1]:
        raise ValueError(f"must be [low, high] with low <= high; found {list(value)}")

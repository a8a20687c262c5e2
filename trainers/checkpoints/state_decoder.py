"""Rebuild the state of a run from its tree structure and its tensors.

The tree structure is the state as JSON, with names in place of tensors. What JSON lacks is an
object with one entry, which names its kind: `{"dict": [[key, value], …]}`, `{"tuple": […]}`,
`{"float": "inf"}`, `{"tensor": name}`. `state_encoder` makes it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

NON_FINITE = ("nan", "inf", "-inf")


def decode(tree_structure: Any, tensor: Callable[[str], Any]) -> Any:
    """Return the state that a tree structure describes.

    Args:
        tensor: Returns what to put in place of a name; raises ValueError for an unknown name.

    Raises:
        ValueError: The tree structure is not one that `state_encoder` makes.
    """
    match tree_structure:
        case None | bool() | int() | float() | str():
            return tree_structure
        case list():
            return [decode(each, tensor) for each in tree_structure]
        case {"tuple": list(items), **rest} if not rest:
            return tuple(decode(each, tensor) for each in items)
        case {"dict": list(items), **rest} if not rest:
            return dict(_decode_item(item, tensor) for item in items)
        case {"float": str(text), **rest} if not rest and text in NON_FINITE:
            return float(text)
        case {"tensor": str(name), **rest} if not rest:
            return tensor(name)
    raise ValueError(f"{str(tree_structure)[:80]!r} does not describe any part of a state")


def check_tree_structure(tree_structure: Any, names: Iterable[str]) -> None:
    """Check that `decode` would succeed, and would use each of these tensors exactly once.

    Raises:
        ValueError: It would not.
    """
    unused = set(names)

    def take(name: str) -> None:
        if name not in unused:
            raise ValueError(f"the tensor {name[:80]!r} is missing, or used twice")
        unused.remove(name)

    decode(tree_structure, take)
    if unused:
        raise ValueError(f"the tensor {min(unused)[:80]!r} belongs to no part of the state")


def _decode_item(item: Any, tensor: Callable[[str], Any]) -> tuple[str | int, Any]:
    match item:
        case [str() | int() as key, value] if not isinstance(key, bool):
            return key, decode(value, tensor)
    raise ValueError(f"{str(item)[:80]!r} is not an entry of a dict")

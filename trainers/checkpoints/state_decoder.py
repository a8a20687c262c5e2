"""Put the state of a run together again from JSON and tensors.

The skeleton of a state is the state as JSON, with names in place of tensors. What JSON lacks is an
object with one entry, which names its kind: `{"dict": [[key, value], …]}`, `{"tuple": […]}`,
`{"float": "inf"}`, `{"tensor": name}`. `state_codec` makes it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

NON_FINITE = ("nan", "inf", "-inf")


def decode(skeleton: Any, tensor: Callable[[str], Any]) -> Any:
    """The state that a skeleton describes.

    Args:
        tensor: Gives what stands for a name; raises ValueError if that is nothing.

    Raises:
        ValueError: The skeleton is not one that `state_codec` makes.
    """
    match skeleton:
        case None | bool() | int() | float() | str():
            return skeleton
        case list():
            return [decode(each, tensor) for each in skeleton]
        case {"tuple": list(items), **rest} if not rest:
            return tuple(decode(each, tensor) for each in items)
        case {"dict": list(items), **rest} if not rest:
            return dict(_decode_item(item, tensor) for item in items)
        case {"float": str(text), **rest} if not rest and text in NON_FINITE:
            return float(text)
        case {"tensor": str(name), **rest} if not rest:
            return tensor(name)
    raise ValueError(f"{str(skeleton)[:80]!r} does not describe any part of a state")


def check_skeleton(skeleton: Any, names: Iterable[str]) -> None:
    """Make sure that `decode` will succeed, and will use each of these tensors once.

    Raises:
        ValueError: It will not.
    """
    unused = set(names)

    def take(name: str) -> None:
        if name not in unused:
            raise ValueError(f"the tensor {name[:80]!r} is missing, or stands for two")
        unused.remove(name)

    decode(skeleton, take)
    if unused:
        raise ValueError(f"the tensor {min(unused)[:80]!r} belongs to no part of the state")


def _decode_item(item: Any, tensor: Callable[[str], Any]) -> tuple[str | int, Any]:
    match item:
        case [str() | int() as key, value] if not isinstance(key, bool):
            return key, decode(value, tensor)
    raise ValueError(f"{str(item)[:80]!r} is not an entry of a dict")

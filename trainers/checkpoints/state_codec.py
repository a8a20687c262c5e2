"""Take the state of a run apart into JSON and tensors, and put it together again.

Taken are dict (keys str or int), list, tuple, torch.Tensor, int, float, str, bool and None, nested
in any way. All come back exactly: types, order, keys, every bit of a tensor and of a number. Three
things do change: an OrderedDict comes back as a dict, a parameter as a plain tensor, and every
tensor on the CPU with memory of its own, also if it was a view or shared.

In the JSON, what JSON lacks is an object with one entry, which names its kind:
`{"dict": [[key, value], …]}`, `{"tuple": […]}`, `{"float": "inf"}`, `{"tensor": name}`.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import torch

from trainers.checkpoints.safetensors_bytes import DTYPE_NAMES, RESERVED_NAME

_TAKEN = "dict (keys str or int), list, tuple, torch.Tensor, int, float, str, bool, None"
_NON_FINITE = ("nan", "inf", "-inf")


def encode(state: Any) -> tuple[Any, dict[str, torch.Tensor]]:
    """A JSON skeleton, and the tensors that it names, which are the caller's own.

    Raises:
        TypeError: Something in the state cannot be saved; the message names its path and type.
    """
    tensors: dict[str, torch.Tensor] = {}
    return _encode(state, (), tensors), tensors


def decode(skeleton: Any, tensors: Mapping[str, torch.Tensor]) -> Any:
    """The inverse of `encode`.

    Raises:
        ValueError: The skeleton is not one that `encode` makes, or names a tensor that is missing.
    """
    match skeleton:
        case None | bool() | int() | float() | str():
            return skeleton
        case list():
            return [decode(each, tensors) for each in skeleton]
        case {"tuple": list(items), **rest} if not rest:
            return tuple(decode(each, tensors) for each in items)
        case {"dict": list(items), **rest} if not rest:
            return dict(_decode_item(item, tensors) for item in items)
        case {"float": str(text), **rest} if not rest and text in _NON_FINITE:
            return float(text)
        case {"tensor": str(name), **rest} if not rest and name in tensors:
            return tensors[name]
    raise ValueError(f"{str(skeleton)[:80]!r} does not describe any part of a state")


def _encode(value: Any, path: tuple[str, ...], tensors: dict[str, torch.Tensor]) -> Any:
    if isinstance(value, torch.Tensor):
        _check_tensor(value, path)
        name = _free_name("/".join(path), tensors)
        tensors[name] = value
        return {"tensor": name}
    kind = type(value)
    if kind in (dict, OrderedDict):
        for key in value:
            if type(key) not in (str, int):
                raise _not_taken(path, f"a key {key!r} of type {_name(type(key))}")
        items = value.items()
        return {"dict": [[key, _encode(each, (*path, str(key)), tensors)] for key, each in items]}
    if kind in (list, tuple):
        items = enumerate(value)
        parts = [_encode(each, (*path, str(index)), tensors) for index, each in items]
        return parts if kind is list else {"tuple": parts}
    if kind is float and not math.isfinite(value):
        return {"float": repr(value)}
    if value is None or kind in (bool, int, float, str):
        return value
    raise _not_taken(path, f"a {_name(kind)}")


def _decode_item(item: Any, tensors: Mapping[str, torch.Tensor]) -> tuple[str | int, Any]:
    match item:
        case [str() | int() as key, value]:
            return key, decode(value, tensors)
    raise ValueError(f"{str(item)[:80]!r} is not an entry of a dict")


def _check_tensor(tensor: torch.Tensor, path: tuple[str, ...]) -> None:
    if tensor.dtype not in DTYPE_NAMES:
        raise _not_taken(path, f"a tensor of {tensor.dtype}")
    if tensor.layout is not torch.strided or tensor.is_meta:
        raise _not_taken(path, f"a tensor of layout {tensor.layout} on {tensor.device}")


def _free_name(name: str, tensors: Mapping[str, torch.Tensor]) -> str:
    """The name, made unique: keys may hold slashes, and 0 and "0" may be keys of one dict."""
    while name in tensors or name == RESERVED_NAME:
        name += "'"
    return name


def _not_taken(path: tuple[str, ...], found: str) -> TypeError:
    return TypeError(
        f"{'/'.join(('state', *path))}: found {found}, which cannot be saved; "
        f"allowed: {_TAKEN}. Turn it into one of these."
    )


def _name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"

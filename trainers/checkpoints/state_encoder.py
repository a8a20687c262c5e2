"""Split the state of a run (a state dict) into a tree structure, as JSON, and tensors.

Allowed are dict (keys str or int), list, tuple, torch.Tensor, int, float, str, bool and None,
nested in any way. All are restored exactly: types, order, keys, every bit of a tensor and of a
number. Three things change: an OrderedDict is restored as a dict, a parameter as a plain tensor,
and every tensor on the CPU, contiguous and with memory of its own, even if it was a view or shared.

See `state_decoder` for the JSON, and for the way back.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import Any

import torch

from trainers.checkpoints.safetensors_header import RESERVED_NAME
from trainers.checkpoints.safetensors_torch import DTYPE_NAMES

_ALLOWED = "dict (keys str or int), list, tuple, torch.Tensor, int, float, str, bool, None"


class StateEncoder:
    """An encoder for the states of one run; the names of tensors are built once and kept."""

    def __init__(self) -> None:
        self._root = _Path("")

    def encode(self, state: Any) -> tuple[Any, dict[str, torch.Tensor]]:
        """Return a tree structure, and the tensors that it names: the state's own, not copies.

        Raises:
            TypeError: Something in the state cannot be saved; the message names its path and type.
        """
        tensors: dict[str, torch.Tensor] = {}
        return _encode(state, self._root, tensors), tensors


class _Path:
    """A path in a state; keeps the paths below it, since joining strings for each save is slow."""

    __slots__ = ("_below", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self._below: dict[str | int, _Path] = {}

    def below(self, key: str | int) -> _Path:
        path = self._below.get(key)
        if path is None:
            path = self._below[key] = _Path(f"{self.name}/{key}" if self.name else str(key))
        return path


def _encode(value: Any, path: _Path, tensors: dict[str, torch.Tensor]) -> Any:
    kind = type(value)
    if kind is dict or kind is OrderedDict:
        items = []
        for key, each in value.items():
            if type(key) not in (str, int):
                raise _not_allowed(path.name, f"a key {key!r} of type {_name(type(key))}")
            items.append([key, _encode(each, path.below(key), tensors)])
        return {"dict": items}
    if isinstance(value, torch.Tensor):
        if value.dtype not in DTYPE_NAMES or value.layout is not torch.strided or value.is_meta:
            raise _not_allowed(
                path.name,
                f"a tensor of {value.dtype}, layout {value.layout}, on {value.device}",
            )
        name = path.name
        while name in tensors or name == RESERVED_NAME:
            name += "'"  # keys may hold slashes, and 0 and "0" may be keys of one dict
        tensors[name] = value
        return {"tensor": name}
    if kind is float and not math.isfinite(value):
        return {"float": repr(value)}
    if value is None or kind in (bool, int, float, str):
        return value
    if kind in (list, tuple):
        parts = [_encode(each, path.below(index), tensors) for index, each in enumerate(value)]
        return parts if kind is list else {"tuple": parts}
    raise _not_allowed(path.name, f"a {_name(kind)}")


def _not_allowed(name: str, found: str) -> TypeError:
    where = f"state/{name}" if name else "state"
    return TypeError(
        f"{where}: found {found}, which cannot be saved; "
        f"allowed: {_ALLOWED}. Turn it into one of these."
    )


def _name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"

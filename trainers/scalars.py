"""Single values of plain data, taken for what they are: nothing is converted by guessing."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from trainers.faults import MalformedError, show


def read_bool(data: Any, _: type) -> bool:
    if not isinstance(data, bool):
        raise MalformedError.at_top(f"found {show(data)}; must be true or false")
    return data


def read_int(data: Any, _: type) -> int:
    if type(data) is not int:
        raise MalformedError.at_top(f"found {show(data)}; must be a whole number")
    return data


def read_float(data: Any, _: type) -> float:
    if type(data) not in (int, float):
        raise MalformedError.at_top(f"found {show(data)}; must be a number")
    try:
        number = float(data)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise MalformedError.at_top(f"found {show(data)}; must be a finite number")
    return number


def read_str(data: Any, _: type) -> str:
    if not isinstance(data, str):
        raise MalformedError.at_top(f"found {show(data)}; must be text; put it in quotes if it is")
    return data


def read_path(folder: Path, data: Any, _: Any) -> Path:
    """A path without `~` and `..`; a relative one starts at the folder."""
    if not isinstance(data, str) or not data:
        raise MalformedError.at_top(f"found {show(data)}; must be a path")
    return Path(os.path.normpath(folder / Path(data).expanduser()))


SCALARS: dict[type, Callable[[Any, type], Any]] = {
    bool: read_bool,
    int: read_int,
    float: read_float,
    str: read_str,
}

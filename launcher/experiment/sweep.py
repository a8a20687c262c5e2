"""Sweeps: one experiment file, many runs, by a grid over values."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from itertools import product
from typing import Any

import attrs
from attrs import frozen

from trainers.config.yaml_source import YamlSource
from trainers.config_faults import Fault, Key, MalformedError, show

MAX_NAME_LENGTH = 100


@frozen
class SweepPoint:
    """The experiment file as one run of the sweep reads it."""

    name: str
    """Of the run, made of the swept values; empty without a sweep."""
    source: YamlSource


def sweep_points(source: YamlSource) -> Iterator[SweepPoint]:
    """Yield every combination of the values under `sweep`, the last key varying fastest.

    Raises:
        MalformedError: `sweep` does not map dotted keys to lists of values, or a key cannot be set.
    """
    grid = source.data.get("sweep")
    grid = {} if grid is None else grid
    _check(source, grid)
    labels = _labels(list(grid))
    axes = [list(enumerate(values)) for values in grid.values()]
    for choices in product(*axes):
        point = without_sweep(source)
        parts = []
        for name, label, (position, value) in zip(grid, labels, choices, strict=True):
            location = source.location(("sweep", name, position))
            point = point.with_value(tuple(name.split(".")), value, location)
            parts.append(f"{label}-{_text(value)}")
        yield SweepPoint(_folder_name("_".join(parts)), point)


def without_sweep(source: YamlSource) -> YamlSource:
    data = {key: value for key, value in source.data.items() if key != "sweep"}
    return attrs.evolve(source, data=data)


def _check(source: YamlSource, grid: Any) -> None:
    if not isinstance(grid, dict):
        message = f"found {show(grid)}; must be a mapping of keys to lists of values"
        raise MalformedError([Fault(("sweep",), message)])
    faults = []
    for name, values in grid.items():
        key: Key = ("sweep", name)
        if not isinstance(values, list) or not values:
            rule = "must be a list of values, such as trainer.batch_size: [1, 2]"
            faults.append(Fault(key, f"found {show(values)}; {rule}"))
        elif name == "name":
            faults.append(Fault(key, "cannot be swept; runs are named after the swept values"))
        elif name.partition(".")[0] == "notify":
            faults.append(Fault(key, "cannot be swept; it is the experiment's, not a run's"))
        elif outer := next((each for each in grid if name.startswith(f"{each}.")), None):
            faults.append(Fault(key, f"lies inside of {outer}, which is swept too"))
        else:
            try:
                source.with_value(tuple(name.split(".")), values[0], source.location(key))
            except MalformedError as error:
                faults += [Fault(key, str(fault)) for fault in error.faults]
    if faults:
        raise MalformedError(faults)


def _labels(names: list[str]) -> list[str]:
    """Return the last word of each dotted key; the whole key where that is not unique."""
    words = list(map(_last_word, names))
    return [
        word if words.count(word) == 1 else name for word, name in zip(words, names, strict=True)
    ]


def _last_word(name: str) -> str:
    """Return the last word, with the positions in lists that follow it."""
    parts = name.split(".")
    words = [index for index, part in enumerate(parts) if not part.isdecimal()]
    return ".".join(parts[words[-1] if words else 0 :])


def _text(value: Any) -> str:
    match value:
        case None:
            return "none"
        case bool():
            return str(value).lower()
        case list():
            return "x".join(map(_text, value)) or "empty"
        case dict():
            return "-".join(_texts(value.items())) or "empty"
        case _:
            return str(value)


def _texts(items: Iterable[tuple[str, Any]]) -> Iterator[str]:
    for key, value in items:
        yield _text(value) if key == "kind" else f"{key}-{_text(value)}"


def _folder_name(text: str) -> str:
    name = re.sub(r"[^A-Za-z0-9._+=-]+", "-", text)
    if len(name) <= MAX_NAME_LENGTH:
        return name
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    return f"{name[: MAX_NAME_LENGTH - 9]}-{digest}"

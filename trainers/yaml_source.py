"""A YAML file whose values know where they come from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import attrs
from attrs import frozen

from trainers.errors import ConfigError
from trainers.faults import Fault, Key, Malformed, show
from trainers.yaml_text import YamlError, parse_yaml


@frozen
class YamlSource:
    """The data of a file, with some values replaced, and the place that each one comes from."""

    data: Any
    faults: tuple[Fault, ...]
    """What must not stand in the file, found while reading it."""
    _file: str
    _lines: Mapping[Key, int]
    _replaced: tuple[tuple[Key, str], ...] = ()
    """Keys and places of the values that do not come from where they stand, newest first."""

    @classmethod
    def read(cls, path: Path) -> Self:
        """The file at `path`; messages will call it by this path.

        Raises:
            ConfigError: It is not there, or not YAML.
        """
        try:
            yaml = parse_yaml(path.read_text(encoding="utf-8-sig"))
        except OSError as error:
            raise ConfigError(f"{path}: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise ConfigError(f"{path}: not UTF-8 text: {error.reason}") from error
        except YamlError as error:
            raise ConfigError(
                f"{path}:{error.line}: not YAML, at column {error.column}: {error.problem}"
            ) from error
        return cls(yaml.data, yaml.faults, str(path), yaml.lines)

    def place(self, key: Key) -> str:
        """Where a value comes from, or, if it is missing, the nearest one around it."""
        for replaced, place in self._replaced:
            shared = min(len(key), len(replaced))
            if key[:shared] == replaced[:shared]:
                return place
        while key not in self._lines:
            key = key[:-1]
        return f"{self._file}:{self._lines[key]}"

    def describe(self, fault: Fault) -> str:
        """One line for the user."""
        return f"{self.place(fault.key)}: {fault}"

    def with_value(self, key: Key, value: Any, place: str) -> Self:
        """A copy in which a value stands at `key` that comes from `place`; shares what is equal.

        Mappings that are missing on the way are made; positions in lists may be given as text.

        Raises:
            Malformed: The way leads nowhere.
        """
        data, key = _with_value(self.data, key, value)
        return attrs.evolve(self, data=data, replaced=((key, place), *self._replaced))


def _with_value(data: Any, key: Key, value: Any, above: Key = ()) -> tuple[Any, Key]:
    if not key:
        return value, above
    part, *rest = key
    if isinstance(data, list):
        position = int(part) if str(part).isdecimal() else len(data)
        if position >= len(data):
            raise Malformed(
                [Fault((*above, part), f"no such position; the list has {len(data)}, from 0 on")]
            )
        data = list(data)
        data[position], way = _with_value(data[position], tuple(rest), value, (*above, position))
    elif isinstance(data, dict):
        below = data.get(part, {})
        below, way = _with_value(below, tuple(rest), value, (*above, part))
        data = {**data, part: below}
    else:
        raise Malformed([Fault(above, f"found {show(data)}, which has no key {part!r} inside")])
    return data, way

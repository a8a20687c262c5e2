"""A YAML file whose values know where they come from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Self

import attrs
from attrs import frozen

from trainers.config.yaml_text import YamlError, parse_yaml
from trainers.config_faults import Fault, Key, MalformedError, Place, PlacedFault, show
from trainers.errors import ConfigError


@frozen
class YamlSource:
    """The data of a file, with some values replaced, and the place that each one comes from."""

    data: Any
    faults: tuple[Fault, ...]
    """What must not stand in the file, found while reading it."""
    path: Path
    """As messages call it."""
    _lines: Mapping[Key, int]
    _replaced: tuple[tuple[Key, Place], ...] = ()
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
        return cls(yaml.data, yaml.faults, path, yaml.lines)

    def place(self, key: Key) -> Place:
        """Where a value comes from; if it is missing, where the nearest one around it does.

        What has a replaced value inside is taken to come from there too.
        """
        for replaced, place in self._replaced:
            shared = min(len(key), len(replaced))
            if key[:shared] == replaced[:shared]:
                return place
        while key not in self._lines:
            key = key[:-1]
        return Place(str(self.path), self._lines[key])

    def placed(self, faults: Iterable[Fault]) -> set[PlacedFault]:
        return {PlacedFault(self.place(fault.key), str(fault)) for fault in faults}

    def with_value(self, key: Key, value: Any, place: Place) -> Self:
        """A copy in which a value stands at `key` that comes from `place`; shares what is equal.

        Mappings that are missing on the way are made; positions in lists may be given as text.

        Raises:
            MalformedError: The way leads nowhere.
        """
        data, key = _with_value(self.data, key, value)
        return attrs.evolve(self, data=data, replaced=((key, place), *self._replaced))


def _with_value(data: Any, key: Key, value: Any, above: Key = ()) -> tuple[Any, Key]:
    """The new data, and the key as it leads through them; `above` is the way down to the data."""
    if not key:
        return value, above
    part, rest = key[0], key[1:]
    if isinstance(data, list):
        position = int(part) if str(part).isdecimal() else len(data)
        if position >= len(data):
            allowed = ", ".join(map(str, range(len(data)))) or "none"
            raise MalformedError([Fault(above, f"there is no position {part}; allowed: {allowed}")])
        data = list(data)
        data[position], way = _with_value(data[position], rest, value, (*above, position))
    elif isinstance(data, dict):
        below, way = _with_value(data.get(part, {}), rest, value, (*above, part))
        data = {**data, part: below}
    else:
        raise MalformedError(
            [Fault(above, f"found {show(data)}, which has no key {part!r} inside")]
        )
    return data, way

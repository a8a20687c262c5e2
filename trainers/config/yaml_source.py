"""A YAML file whose values know their source location."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Self

import attrs
from attrs import frozen

from trainers.config.yaml_text import YamlError, parse_yaml
from trainers.config_faults import Fault, Key, LocatedFault, MalformedError, SourceLocation, show
from trainers.errors import ConfigError
from trainers.run.failure_class import is_of_this_moment


@frozen
class YamlSource:
    """The data of a file, with overrides applied, and the source location of each value."""

    data: Any
    faults: tuple[Fault, ...]
    """Faults found while parsing, such as duplicate keys."""
    path: Path
    """As shown in messages."""
    _lines: Mapping[Key, int]
    _replaced: tuple[tuple[Key, SourceLocation], ...] = ()
    """Keys and source locations of overridden values, newest first."""

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a file; messages show `path` as given.

        Raises:
            ConfigError: It is missing, may not be read, or is not YAML.
            OSError: It cannot be read at present, see `failure_class.is_of_this_moment`.
        """
        try:
            yaml = parse_yaml(path.read_text(encoding="utf-8-sig"))
        except OSError as error:
            if is_of_this_moment(error):
                raise
            raise ConfigError(f"{path}: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise ConfigError(f"{path}: not UTF-8 text: {error.reason}") from error
        except YamlError as error:
            raise ConfigError(
                f"{path}:{error.line}: not YAML, at column {error.column}: {error.problem}"
            ) from error
        return cls(yaml.data, yaml.faults, path, yaml.lines)

    def location(self, key: Key) -> SourceLocation:
        """Return the source location of a value; of the nearest parent if the key is missing.

        A parent of an overridden value has the location of the override.
        """
        for replaced, location in self._replaced:
            shared = min(len(key), len(replaced))
            if key[:shared] == replaced[:shared]:
                return location
        while key not in self._lines:
            key = key[:-1]
        return SourceLocation(str(self.path), self._lines[key])

    def located(self, faults: Iterable[Fault]) -> set[LocatedFault]:
        """Return the faults with their source locations."""
        return {LocatedFault(self.location(fault.key), str(fault)) for fault in faults}

    def with_value(self, key: Key, value: Any, location: SourceLocation) -> Self:
        """Return a copy with the value at `key` overridden; unchanged data are shared.

        Missing mappings above it are created; list positions may be given as text.

        Raises:
            MalformedError: The key passes through a scalar, or a list has no such position.
        """
        data, key = _with_value(self.data, key, value)
        return attrs.evolve(self, data=data, replaced=((key, location), *self._replaced))


def _with_value(data: Any, key: Key, value: Any, above: Key = ()) -> tuple[Any, Key]:
    """Return the new data and the normalized key; `above` is the key of the given data."""
    if not key:
        return value, above
    part, rest = key[0], key[1:]
    if isinstance(data, list):
        position = int(part) if str(part).isdecimal() else len(data)
        if position >= len(data):
            allowed = ", ".join(map(str, range(len(data)))) or "none"
            raise MalformedError(
                [Fault(above, f"no position {part} in the list; allowed: {allowed}")]
            )
        data = list(data)
        data[position], normalized = _with_value(data[position], rest, value, (*above, position))
    elif isinstance(data, dict):
        below, normalized = _with_value(data.get(part, {}), rest, value, (*above, part))
        data = {**data, part: below}
    else:
        raise MalformedError(
            [Fault(above, f"found {show(data)}, which has no key {part!r} inside")]
        )
    return data, normalized

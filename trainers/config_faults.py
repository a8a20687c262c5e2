"""Mistakes in a config, worded for the person who made them."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from attrs import frozen

from trainers.errors import ConfigError

Key = tuple[str | int, ...]
"""The way from the top of a file to a value: names of keys, and positions in lists."""

_BOUND = re.compile(r"'\w+' must be (>=|<=|>|<) (.+): (.+)")
_LENGTH = re.compile(r"Length of '\w+' must be (>=|<=) (\d+): (\d+)")
_WORDS = {">=": "at least", "<=": "at most", ">": "more than", "<": "less than"}


@frozen
class Fault:
    """What is wrong with one value."""

    key: Key
    message: str

    def under(self, *parents: str | int) -> Fault:
        """The same fault, seen from further up."""
        return Fault((*parents, *self.key), self.message)

    def __str__(self) -> str:
        return ": ".join(filter(None, (".".join(map(str, self.key)), self.message)))


@frozen(order=True)
class Place:
    """Where a value was written down."""

    source: str
    """A file, or what stood on the command line."""
    line: int | None = None

    def __str__(self) -> str:
        return self.source if self.line is None else f"{self.source}:{self.line}"


@frozen(order=True)
class PlacedFault:
    """A fault for the user to read; sorted by file and line."""

    place: Place
    text: str

    def __str__(self) -> str:
        return f"{self.place}: {self.text}"


class MalformedError(ConfigError):
    """A value has faults; their keys start at this value."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__(self.faults)

    @classmethod
    def at_top(cls, message: str) -> MalformedError:
        return cls([Fault((), message)])

    def under(self, parent: str | int) -> list[Fault]:
        """The faults as they are seen from what holds the value under `parent`."""
        return [fault.under(parent) for fault in self.faults]

    def __str__(self) -> str:
        return "\n".join(map(str, self.faults))


def config_error(faults: Iterable[PlacedFault]) -> ConfigError:
    """All faults, a line each, in the order of the files."""
    return ConfigError("\n".join(map(str, sorted(faults))))


def show(value: Any) -> str:
    """A value the way it stands in a file, shortened."""
    text = _flow(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _flow(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case Mapping():
            return "{" + ", ".join(f"{key}: {_flow(each)}" for key, each in value.items()) + "}"
        case list() | tuple():
            return "[" + ", ".join(map(_flow, value)) + "]"
        case _:
            return repr(value)


def unknown_keys(data: Mapping[str, Any], allowed: Collection[str]) -> list[Fault]:
    """A fault for every key that is not allowed."""
    return [
        Fault((key,), f"unknown key; {_allowed(key, allowed)}")
        for key in data
        if key not in allowed
    ]


def not_one_of(value: Any, allowed: Collection[Any]) -> str:
    """The message for a value that stands in no list."""
    return f"found {show(value)}; {_allowed(str(value), allowed)}"


def _allowed(word: str, allowed: Collection[Any]) -> str:
    words = [str(each) for each in allowed]
    near = difflib.get_close_matches(word.lower(), words, n=1)
    hint = "".join(f"did you mean {each!r}? " for each in near)
    return f"{hint}allowed: {', '.join(words) or 'none'}"


def reworded(error: ValueError, value: Any) -> str:
    """The message of a field's validator, with the words of attrs' own ones put into ours."""
    message = str(error.args[0])
    if len(error.args) == 4:  # attrs' in_: message, attribute, options, value
        return not_one_of(error.args[3], error.args[2])
    if match := _LENGTH.fullmatch(message):
        limit = f"{_WORDS[match[1]]} {match[2]}"
        rule = "not be empty" if limit == "at least 1" else f"have a length of {limit}"
        found = show(value) if len(value) == int(match[3]) else f"an entry of length {match[3]}"
        return f"found {found}; must {rule}"
    if match := _BOUND.fullmatch(message):
        found = match[3] if isinstance(value, list) else show(value)
        return f"found {found}; must be {_WORDS[match[1]]} {match[2]}"
    return message

"""Faults of a config, as messages for its author: where, what was found, what is allowed."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from attrs import frozen

from trainers.errors import ConfigError

Key = tuple[str | int, ...]
"""The path from the top of a file to a value: keys and list positions."""

# Messages of attrs' own validators, which name an attribute instead of a key in a file.
_BOUND = re.compile(r"'\w+' must be (>=|<=|>|<) (.+): (.+)")
_LENGTH = re.compile(r"Length of '\w+' must be (>=|<=) (\d+): (\d+)")
_WORDS = {">=": "at least", "<=": "at most", ">": "more than", "<": "less than"}


@frozen
class Fault:
    """A fault of one value."""

    key: Key
    message: str

    def under(self, *parents: str | int) -> Fault:
        """Return the same fault with a key that starts further up."""
        return Fault((*parents, *self.key), self.message)

    def __str__(self) -> str:
        return ": ".join(filter(None, (".".join(map(str, self.key)), self.message)))


@frozen(order=True)
class SourceLocation:
    """The source location of a value."""

    source: str
    """A file, or an argument of the command line."""
    line: int | None = None

    def __str__(self) -> str:
        return self.source if self.line is None else f"{self.source}:{self.line}"


@frozen(order=True)
class LocatedFault:
    """A fault with its source location; sorted by file and line."""

    location: SourceLocation
    text: str

    def __str__(self) -> str:
        return f"{self.location}: {self.text}"


class MalformedError(ConfigError):
    """A value has faults, whose keys start at this value."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__(self.faults)

    @classmethod
    def at_top(cls, message: str) -> MalformedError:
        """Return the error of a fault of the value itself."""
        return cls([Fault((), message)])

    def under(self, parent: str | int) -> list[Fault]:
        """Return the faults for the object that holds this value under the key `parent`."""
        return [fault.under(parent) for fault in self.faults]

    def __str__(self) -> str:
        return "\n".join(map(str, self.faults))


def config_error(faults: Iterable[LocatedFault]) -> ConfigError:
    """Return one error with all faults, a line each, sorted by file and line."""
    return ConfigError("\n".join(map(str, sorted(faults))))


def show(value: Any) -> str:
    """Return a value as YAML, shortened to 60 characters."""
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
    """Return a fault for each key that is not allowed."""
    return [
        Fault((key,), f"unknown key; {_allowed(key, allowed)}")
        for key in data
        if key not in allowed
    ]


def not_one_of(value: Any, allowed: Collection[Any]) -> str:
    """Return the message for a value that is not among the allowed ones, with a suggestion."""
    return f"found {show(value)}; {_allowed(str(value), allowed)}"


def _allowed(word: str, allowed: Collection[Any]) -> str:
    words = [str(each) for each in allowed]
    near = difflib.get_close_matches(word.lower(), words, n=1)
    hint = "".join(f"did you mean {each!r}? " for each in near)
    return f"{hint}allowed: {', '.join(words) or 'none'}"


def validator_message(error: ValueError, value: Any) -> str:
    """Return the message of a field's validator; those of attrs' validators are reworded."""
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

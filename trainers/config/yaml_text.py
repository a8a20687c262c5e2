"""YAML 1.2 as plain data: `1e-4` is a number; `yes`, `on` and `02:00:00` are text.

PyYAML implements YAML 1.1, where `1e-4` is text, `no` is false and `02:00:00` is 7200. So only its
parser is used, through loaders that leave scalars alone, and scalars are resolved here.
"""

from __future__ import annotations

import re
from typing import Any

import yaml
from attrs import frozen

from trainers.config_faults import Fault, Key

_Loader = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
_Dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)

_PLAIN_TAGS = tuple(f"tag:yaml.org,2002:{kind}" for kind in ("str", "seq", "map"))
_WORDS = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_INT = re.compile(r"[-+]?[0-9]{1,4000}|0o[0-7]+|0x[0-9a-fA-F]+")  # int() refuses over 4300 digits
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_INF_OR_NAN = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")


class YamlError(Exception):
    """The text is not YAML. Line and column are counted from 1."""

    def __init__(self, line: int, column: int, problem: str) -> None:
        super().__init__(line, column, problem)
        self.line = line
        self.column = column
        self.problem = problem


@frozen
class YamlText:
    """A document as plain data: dicts with text as keys, lists, and scalars."""

    data: Any
    lines: dict[Key, int]
    """Lines of all values, counted from 1; the value of a mapping has the line of its key."""
    faults: tuple[Fault, ...]
    """What is YAML but not allowed, such as a duplicate key or a tag."""


def parse_yaml(text: str) -> YamlText:
    """Parse one document; nothing in it can run code.

    Raises:
        YamlError: The text is not YAML.
    """
    walk = _Walk()
    try:
        data = walk.value(_compose(text), (), line=1)
    except RecursionError:
        raise YamlError(1, 1, "the values are nested too deeply") from None
    return YamlText(data, walk.lines, tuple(walk.faults))


def dump_yaml(data: Any) -> str:
    """Return text that `parse_yaml` reads back as the same data; keys keep their order."""
    text: str = yaml.dump(
        data,
        Dumper=_Yaml12Dumper,
        sort_keys=False,
        default_flow_style=None,
        allow_unicode=True,
        width=100,
    )
    return text


def _compose(text: str) -> yaml.Node:
    try:
        node = yaml.compose(text, Loader=_Loader)
    except yaml.YAMLError:
        node = _compose_slowly(text)
    return node or yaml.ScalarNode(_PLAIN_TAGS[0], "")


def _compose_slowly(text: str) -> yaml.Node | None:
    """Parse again in Python, whose messages are better than those of libyaml."""
    try:
        return yaml.compose(text, Loader=yaml.BaseLoader)
    except yaml.MarkedYAMLError as error:
        mark, start = error.problem_mark, error.context_mark
        assert mark is not None
        problem = ", ".join(filter(None, (error.context, error.problem)))
        if start is not None and start.line < mark.line:
            problem += f" (started on line {start.line + 1})"
        raise YamlError(mark.line + 1, mark.column + 1, problem) from None
    except yaml.reader.ReaderError as error:
        before = text[: error.position].split("\n")
        problem = f"found character #x{error.character:02x}, which is not allowed"
        raise YamlError(len(before), len(before[-1]) + 1, problem) from None


class _Walk:
    """Turns nodes into data, and records their lines."""

    def __init__(self) -> None:
        self.lines: dict[Key, int] = {}
        self.faults: list[Fault] = []
        self._open: list[yaml.Node] = []

    def value(self, node: yaml.Node, key: Key, line: int) -> Any:
        self.lines[key] = line
        if node.tag not in _PLAIN_TAGS:
            tag = node.tag.replace("tag:yaml.org,2002:", "!!")
            self.faults.append(Fault(key, f"found the tag {tag}; tags are not allowed"))
        if isinstance(node, yaml.ScalarNode):
            return node.value if node.style else _scalar(node.value)
        if node in self._open:
            self.faults.append(Fault(key, "an alias must not refer to a value that contains it"))
            return None
        self._open.append(node)
        read = self._mapping if isinstance(node, yaml.MappingNode) else self._list
        value = read(node, key)
        self._open.pop()
        return value

    def _list(self, node: yaml.Node, key: Key) -> list[Any]:
        return [
            self.value(each, (*key, position), _line(each))
            for position, each in enumerate(node.value)
        ]

    def _mapping(self, node: yaml.Node, key: Key) -> dict[str, Any]:
        data: dict[str, Any] = {}
        for name_node, value_node in node.value:
            line = _line(name_node)
            if not isinstance(name_node, yaml.ScalarNode):
                self.lines[*key, "?"] = line
                self.faults.append(Fault((*key, "?"), "a key must be a plain word"))
                continue
            name = name_node.value
            below = (*key, name)
            if name in data:
                first = self.lines[below]
                self.faults.append(Fault(below, f"given twice, first on line {first}; keep one"))
            data[name] = self.value(value_node, below, line)
        return data


def _line(node: yaml.Node) -> int:
    line: int = node.start_mark.line + 1
    return line


def _scalar(text: str) -> Any:
    """Resolve a scalar without quotes by the core schema of YAML 1.2."""
    if text in _WORDS:
        return _WORDS[text]
    if _INT.fullmatch(text):
        return int(text, 0 if text.startswith(("0o", "0x")) else 10)
    if _FLOAT.fullmatch(text):
        return float(text)
    if _INF_OR_NAN.fullmatch(text):
        return float(text.replace(".", "", 1))
    return text


class _Yaml12Dumper(_Dumper):  # type: ignore[misc, valid-type]
    """Quotes text where YAML 1.2 requires it but YAML 1.1 does not, such as '1e-4'."""


def _represent_text(dumper: Any, text: str) -> yaml.Node:
    quotes = None if isinstance(_scalar(text), str) else "'"
    node: yaml.Node = dumper.represent_scalar(_PLAIN_TAGS[0], text, style=quotes)
    return node


_Yaml12Dumper.add_representer(str, _represent_text)

"""Values that are given on the command line: `trainer.batch_size=4`."""

from __future__ import annotations

from collections.abc import Sequence

from trainers.faults import Key, Malformed
from trainers.yaml_source import YamlSource
from trainers.yaml_text import YamlError, parse_yaml

_SWEEP = "sweep."


def with_overrides(source: YamlSource, overrides: Sequence[str]) -> tuple[YamlSource, list[str]]:
    """The source with values replaced, and one line for each override that makes no sense.

    Args:
        overrides: `key=value` each, a later one above an earlier one. The value is YAML; the parts
            of the key are joined by dots, and positions in lists are numbers.
    """
    faults = []
    for override in overrides:
        place = f"command line: {override}"
        name, equals, text = override.partition("=")
        if not (name and equals):
            faults.append(f"{place}: must have the form key=value, such as trainer.batch_size=4")
            continue
        try:
            source = source.with_value(_key(name), parse_yaml(text).data, place)
        except YamlError as error:
            faults.append(f"{place}: the value is not YAML: {error.problem}")
        except Malformed as error:
            faults += [f"{place}: {fault}" for fault in error.faults]
    return source, faults


def _key(name: str) -> Key:
    """A sweep's own keys have dots."""
    if name.startswith(_SWEEP):
        return ("sweep", name.removeprefix(_SWEEP))
    return tuple(name.split("."))

"""Overrides on the command line: `trainer.batch_size=4`."""

from __future__ import annotations

from collections.abc import Sequence

from trainers.config.yaml_source import YamlSource
from trainers.config.yaml_text import YamlError, parse_yaml
from trainers.config_faults import Key, LocatedFault, MalformedError, SourceLocation

_SWEEP = "sweep."


def with_overrides(
    source: YamlSource, overrides: Sequence[str]
) -> tuple[YamlSource, set[LocatedFault]]:
    """Return the source with values replaced, and the faults of overrides that cannot be applied.

    Args:
        overrides: Each `key=value`; the last one wins. The value is YAML; dots join the parts of
            the key, and positions in lists are numbers.
    """
    faults = set()
    for override in overrides:
        location = SourceLocation(f"command line: {override}")
        name, equals, text = override.partition("=")
        if not (name and equals):
            problem = "must have the form key=value, such as trainer.batch_size=4"
            faults.add(LocatedFault(location, problem))
            continue
        try:
            source = source.with_value(_key(name), parse_yaml(text).data, location)
        except YamlError as error:
            faults.add(LocatedFault(location, f"the value is not YAML: {error.problem}"))
        except MalformedError as error:
            faults |= {LocatedFault(location, str(fault)) for fault in error.faults}
    return source, faults


def _key(name: str) -> Key:
    """Split a dotted key; the keys below `sweep` contain dots themselves."""
    if name.startswith(_SWEEP):
        return ("sweep", name.removeprefix(_SWEEP))
    return tuple(name.split("."))

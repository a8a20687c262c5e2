"""From an experiment file to the runs that it asks for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs
from attrs import frozen

from launcher.overrides import with_overrides
from launcher.run_fit import RunFit
from launcher.sweep import SweepPoint, sweep_points, without_sweep
from trainers.converter import read_fields
from trainers.faults import Fault, MalformedError, config_error, show, unknown_keys
from trainers.run_config import RunConfig
from trainers.yaml_source import YamlSource

_RUN_KEYS = tuple(each.name for each in attrs.fields(RunConfig) if each.name != "experiment")
_KEYS = (*_RUN_KEYS, "sweep")


@frozen(kw_only=True)
class Experiment:
    """Runs that are asked for together."""

    name: str
    runs: tuple[RunConfig, ...]
    """Their names differ."""
    source: Path
    """The file that asks for them."""


def read_experiment(path: Path, overrides: Sequence[str] = ()) -> Experiment:
    """Resolve an experiment file: every value, every path, every run of its sweep.

    Args:
        overrides: `key=value` each, such as `trainer.batch_size=4`; the value is YAML.

    Raises:
        ConfigError: Lists all that is wrong with the file, the overrides, and the arrays that they
            name: a line each, with the place that it comes from.
    """
    source = YamlSource.read(path)
    if not isinstance(source.data, dict):
        fault = Fault((), f"found {show(source.data)}; must be a mapping")
        raise config_error(source.placed([fault]))
    faults = source.placed(source.faults)
    source, unusable = with_overrides(source, overrides)
    faults |= unusable
    try:
        points = list(sweep_points(source))
    except MalformedError as error:
        faults |= source.placed(error.faults)
        points = [SweepPoint("", without_sweep(source))]
    faults |= source.placed(_same_names(points))
    runs = []
    fit = RunFit()
    for point in points:
        sections, malformed = _read_sections(point.source.data, path.absolute().parent)
        faults |= point.source.placed([*malformed, *fit.faults(sections)])
        if not faults:
            runs.append(_run(sections, point.name))
    if faults:
        raise config_error(faults)
    return Experiment(name=runs[0].experiment, runs=tuple(runs), source=path)


def _read_sections(data: dict[str, Any], folder: Path) -> tuple[dict[str, Any], list[Fault]]:
    unknown = unknown_keys(data, _KEYS)
    known = {"python_path": ["."], **{key: data[key] for key in data if key in _RUN_KEYS}}
    if isinstance(data.get("trainer"), dict):
        known["trainer"] = {"name": str(data.get("name") or "unnamed"), **data["trainer"]}
    sections, faults = read_fields(RunConfig, known, folder=folder)
    return sections, unknown + faults


def _run(sections: dict[str, Any], name: str) -> RunConfig:
    config = RunConfig(**sections)
    return attrs.evolve(config, name=name) if name else config


def _same_names(points: Sequence[SweepPoint]) -> list[Fault]:
    times = Counter(point.name for point in points)
    return [
        Fault(("sweep",), f"{count} runs would have the name {name}; each needs its own")
        for name, count in times.items()
        if count > 1
    ]

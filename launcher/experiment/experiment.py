"""From an experiment file to the runs that it asks for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs
from attrs import frozen

from launcher.experiment.overrides import with_overrides
from launcher.experiment.run_checks import RunFit
from launcher.experiment.sweep import SweepPoint, sweep_points, without_sweep
from trainers.config.converter import FieldsReader
from trainers.config.run_config import RunConfig
from trainers.config.yaml_source import YamlSource
from trainers.config_faults import Fault, MalformedError, config_error, show, unknown_keys

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
    overrides: tuple[str, ...] = ()
    """Values of the file that were replaced: `key=value` each."""


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
    sections_reader, fit = _SectionsReader(path.absolute().parent), RunFit()
    for point in points:
        sections, malformed = sections_reader.read(point.source.data)
        faults |= point.source.placed([*malformed, *fit.faults(sections)])
        if not faults:
            runs.append(_run(sections, point.name))
    if faults:
        raise config_error(faults)
    return Experiment(
        name=runs[0].experiment, runs=tuple(runs), source=path, overrides=tuple(overrides)
    )


class _SectionsReader:
    """Reads the sections of many runs; those that runs share are read once."""

    def __init__(self, folder: Path) -> None:
        self._fields = FieldsReader(RunConfig, folder=folder)
        self._here = ["."]
        self._trainers: dict[int, tuple[Any, dict[str, Any]]] = {}

    def read(self, data: dict[str, Any]) -> tuple[dict[str, Any], list[Fault]]:
        unknown = unknown_keys(data, _KEYS)
        known = {"python_path": self._here, **{key: data[key] for key in data if key in _RUN_KEYS}}
        if isinstance(data.get("trainer"), dict):
            known["trainer"] = self._named_trainer(data)
        sections, faults = self._fields.read(known)
        return sections, unknown + faults

    def _named_trainer(self, data: dict[str, Any]) -> dict[str, Any]:
        """The same object for all runs of an experiment that share their trainer."""
        trainer = data["trainer"]
        if id(trainer) not in self._trainers:
            named = {"name": str(data.get("name") or "unnamed"), **trainer}
            self._trainers[id(trainer)] = (trainer, named)
        return self._trainers[id(trainer)][1]


def _run(sections: dict[str, Any], name: str) -> RunConfig:
    if not name:
        return RunConfig(**sections)
    return RunConfig(**{**sections, "name": name, "experiment": sections["name"]})


def _same_names(points: Sequence[SweepPoint]) -> list[Fault]:
    times = Counter(point.name for point in points)
    return [
        Fault(("sweep",), f"{count} runs would have the name {name}; each needs its own")
        for name, count in times.items()
        if count > 1
    ]

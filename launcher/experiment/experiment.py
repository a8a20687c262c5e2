"""From an experiment file to its runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs
from attrs import frozen

from launcher.experiment.notify_config import NotifyConfig, without_secrets
from launcher.experiment.overrides import with_overrides
from launcher.experiment.run_checks import RunChecks, TryArrays
from launcher.experiment.sweep import SweepPoint, sweep_points, without_sweep
from trainers.config.converter import FieldsReader, from_plain
from trainers.config.run_config import RunConfig
from trainers.config.yaml_source import YamlSource
from trainers.config_faults import (
    Fault,
    LocatedFault,
    MalformedError,
    config_error,
    show,
    unknown_keys,
)

_RUN_KEYS = tuple(each.name for each in attrs.fields(RunConfig) if each.name != "experiment")
_KEYS = (*_RUN_KEYS, "notify", "sweep")


@frozen(kw_only=True)
class Experiment:
    """The runs of an experiment file."""

    name: str
    runs: tuple[RunConfig, ...]
    """Their names are unique."""
    source: Path
    """The experiment file."""
    overrides: tuple[str, ...] = ()
    """Replaced values of the file, each `key=value`."""
    notify: NotifyConfig | None = None
    """Who is told; not a part of any run."""


def read_experiment(
    path: Path, overrides: Sequence[str] = (), try_arrays: TryArrays | None = None
) -> Experiment:
    """Read an experiment file and resolve it: every value, every path, every run of its sweep.

    Args:
        overrides: Each `key=value`, such as `trainer.batch_size=4`; the value is YAML.
        try_arrays: Opens all arrays, as the trainers will; None: only their metadata are read.

    Raises:
        ConfigError: Lists all faults of the file, the overrides, and the arrays that they name: a
            line each, with the place that it comes from.
    """
    source = YamlSource.read(path)
    if not isinstance(source.data, dict):
        fault = Fault((), f"found {show(source.data)}; must be a mapping")
        raise config_error(source.located([fault]))
    faults = source.located(source.faults)
    source, override_faults = with_overrides(source, overrides)
    faults |= override_faults
    try:
        points = list(sweep_points(source))
    except MalformedError as error:
        faults |= source.located(error.faults)
        points = [SweepPoint("", without_sweep(source))]
    faults |= source.located(_duplicate_names(points))
    notify, notify_faults = _read_notify(source)
    faults |= notify_faults
    runs = []
    sections_reader, checks = _SectionsReader(path.absolute().parent), RunChecks()
    for point in points:
        sections, malformed = sections_reader.read(point.source.data)
        faults |= point.source.located([*malformed, *checks.faults(sections)])
        if not faults:
            runs.append(_run(sections, point.name))
    if try_arrays and not faults:
        for point, unreadable in zip(points, checks.unreadable(runs, try_arrays), strict=True):
            faults |= point.source.located(unreadable)
    if faults:
        raise config_error(faults)
    return Experiment(
        name=runs[0].experiment,
        runs=tuple(runs),
        source=path,
        overrides=tuple(overrides),
        notify=notify,
    )


class _SectionsReader:
    """Reads the sections of many runs; sections that runs share are read once."""

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
        """Return the trainer section with a name; one object for all runs that share the section.

        `FieldsReader` and `RunChecks` tell by identity whether they have seen a section.
        """
        trainer = data["trainer"]
        if id(trainer) not in self._trainers:
            named = {"name": str(data.get("name") or "unnamed"), **trainer}
            self._trainers[id(trainer)] = (trainer, named)
        return self._trainers[id(trainer)][1]


def _read_notify(source: YamlSource) -> tuple[NotifyConfig | None, set[LocatedFault]]:
    """Read who is told; the faults show nothing of a URL but its host."""
    data = source.data.get("notify")
    if data is None:
        return None, set()
    try:
        return from_plain(NotifyConfig, data), set()
    except MalformedError as error:
        faults = source.located(error.under("notify"))
    return None, {
        LocatedFault(
            attrs.evolve(fault.location, source=without_secrets(fault.location.source)),
            without_secrets(fault.text),
        )
        for fault in faults
    }


def _run(sections: dict[str, Any], name: str) -> RunConfig:
    if not name:
        return RunConfig(**sections)
    return RunConfig(**{**sections, "name": name, "experiment": sections["name"]})


def _duplicate_names(points: Sequence[SweepPoint]) -> list[Fault]:
    times = Counter(point.name for point in points)
    return [
        Fault(("sweep",), f"{count} runs would have the name {name}; each needs its own")
        for name, count in times.items()
        if count > 1
    ]

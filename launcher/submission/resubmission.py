"""Which runs of an experiment to resubmit, from nothing but their folders."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
from attrs import Factory, frozen

from launcher.clusters.submission_target import SlurmOptions
from launcher.errors import LauncherError
from launcher.experiment.experiment import Experiment
from launcher.experiment.experiment_folder import ExperimentFolder
from launcher.experiment.notify_config import read_notify
from launcher.job.pack import read_pack
from launcher.monitor.status import read_statuses
from trainers.config.config_io import read_run_config
from trainers.run.run_folder import RunFolder


@frozen(kw_only=True)
class Resubmission:
    """Runs to resubmit, and where."""

    folder: ExperimentFolder
    experiment: Experiment
    cluster: str
    """As for `--cluster`."""
    options: SlurmOptions
    """Those given now, and those of the earlier submission."""


def choose_runs(
    runs: Sequence[RunFolder],
    states: Collection[str],
    *,
    cluster: str | None,
    options: SlurmOptions | None = None,
) -> Resubmission | None:
    """Choose the runs of an experiment that are in one of the states; None if there are none.

    Their configs are read from their folders: the experiment file may have changed since.

    Args:
        cluster: As for `--cluster`; None is the cluster that they were submitted to.
        options: Go before those with which they were submitted to the same cluster.

    Raises:
        LauncherError: The runs are of several experiments, or were submitted to several clusters,
            or with several values of an option.
        ConfigError: A run's config cannot be read.
    """
    folder = _one_experiment(runs)
    statuses = zip(runs, read_statuses(runs), strict=True)
    chosen = {run: status.pack or "" for run, status in statuses if status.state in states}
    if not chosen:
        return None
    terms = [_terms_of_pack(folder, name, cluster) for name in dict.fromkeys(chosen.values())]
    cluster = cluster or _only_cluster(terms)
    return Resubmission(
        folder=folder,
        experiment=Experiment(
            name=folder.name,
            runs=tuple(read_run_config(run.config) for run in chosen),
            source=folder.source,
            notify=read_notify(folder),
        ),
        cluster=cluster,
        options=_with_earlier(
            options or SlurmOptions(),
            [each.options for each in terms if _file(each.cluster) == _file(cluster)],
        ),
    )


def _one_experiment(runs: Iterable[RunFolder]) -> ExperimentFolder:
    folders = list(dict.fromkeys(map(ExperimentFolder.of_run, runs)))
    if len(folders) > 1:
        names = ", ".join(folder.name for folder in folders)
        raise LauncherError(
            f"these runs are of {len(folders)} experiments; give one of them: {names}"
        )
    return folders[0]


@frozen
class _Terms:
    """How a pack was submitted."""

    cluster: str
    options: Mapping[str, Any] = Factory(dict)


def _terms_of_pack(folder: ExperimentFolder, name: str, cluster: str | None) -> _Terms:
    """Return how a pack was submitted.

    Args:
        cluster: Where its runs go now, if that is known: then a damaged pack does not matter.
    """
    pack = folder.pack(name)
    if not name or not pack.manifest.exists():
        return _Terms("local")
    try:
        found = read_pack(pack)
    except (ValueError, TypeError, KeyError) as error:
        if cluster:
            return _Terms("")
        raise LauncherError(f"{pack.manifest} is damaged ({error}); add --cluster") from error
    if found.slurm:
        return _Terms(found.slurm.cluster, found.slurm.options)
    return _Terms(found.cluster)


def _only_cluster(terms: Iterable[_Terms]) -> str:
    clusters = sorted({each.cluster for each in terms})
    if len(clusters) > 1:
        raise LauncherError(
            f"these runs were submitted to several clusters, {' and '.join(clusters)}; "
            "add --cluster"
        )
    return clusters[0]


def _file(cluster: str) -> str:
    """Return the file that a path leads to, from whatever folder it was given; or the name."""
    return str(Path(cluster).resolve()) if cluster.endswith((".yaml", ".yml")) else cluster


def _with_earlier(options: SlurmOptions, earlier: Sequence[Mapping[str, Any]]) -> SlurmOptions:
    """Return the options, with those of earlier submissions in place of those that are not set."""
    found: dict[str, Any] = {}
    for each in attrs.fields(SlurmOptions):
        values = list(dict.fromkeys(one.get(each.name) for one in earlier))
        if each.name in options.given or not values:
            continue
        if len(values) > 1:
            shown = sorted("none" if value is None else str(value) for value in values)
            option = f"--{each.name.replace('_', '-')}"
            advice = "or resubmit the runs of each value by themselves, as EXPERIMENT/RUN"
            raise LauncherError(
                f"these runs were submitted with several values of {option}, "
                f"{' and '.join(shown)}; add {option}, {advice}"
            )
        found[each.name] = values[0]
    return attrs.evolve(options, **found)

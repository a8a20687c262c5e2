"""Which runs of an experiment to resubmit, from nothing but their folders."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from attrs import frozen

from launcher.errors import LauncherError
from launcher.experiment.experiment import Experiment
from launcher.experiment.experiment_folder import ExperimentFolder
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


def choose_runs(
    runs: Sequence[RunFolder], states: Collection[str], *, cluster: str | None
) -> Resubmission | None:
    """Choose the runs of an experiment that are in one of the states; None if there are none.

    Their configs are read from their folders: the experiment file may have changed since.

    Args:
        cluster: As for `--cluster`; None is the cluster that they were submitted to.

    Raises:
        LauncherError: The runs are of several experiments, or were submitted to several clusters.
        ConfigError: A run's config cannot be read.
    """
    folder = _one_experiment(runs)
    statuses = zip(runs, read_statuses(runs), strict=True)
    chosen = {run: status.pack or "" for run, status in statuses if status.state in states}
    if not chosen:
        return None
    return Resubmission(
        folder=folder,
        experiment=Experiment(
            name=folder.name,
            runs=tuple(read_run_config(run.config) for run in chosen),
            source=folder.source,
        ),
        cluster=cluster or _cluster_of(folder, set(chosen.values())),
    )


def _one_experiment(runs: Iterable[RunFolder]) -> ExperimentFolder:
    folders = list(dict.fromkeys(map(ExperimentFolder.of_run, runs)))
    if len(folders) > 1:
        names = ", ".join(folder.name for folder in folders)
        raise LauncherError(
            f"these runs are of {len(folders)} experiments; give one of them: {names}"
        )
    return folders[0]


def _cluster_of(folder: ExperimentFolder, packs: Collection[str]) -> str:
    """Return the cluster that the runs of some packs were submitted to."""
    clusters = sorted({_cluster_of_pack(folder, name) for name in packs})
    if len(clusters) > 1:
        raise LauncherError(
            f"these runs were submitted to several clusters, {' and '.join(clusters)}; "
            "add --cluster"
        )
    return clusters[0]


def _cluster_of_pack(folder: ExperimentFolder, name: str) -> str:
    pack = folder.pack(name)
    if not name or not pack.manifest.exists():
        return "local"
    try:
        terms = read_pack(pack).slurm
    except (ValueError, TypeError, KeyError) as error:
        raise LauncherError(f"{pack.manifest} is damaged ({error}); add --cluster") from error
    return terms.cluster if terms else "local"

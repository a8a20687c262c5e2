"""What runs have used of what they asked for, from their own figures: no accounting is needed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import attrs
from attrs import frozen

from launcher.experiment.experiment_folder import ExperimentFolder
from launcher.monitor.find_run import config_or_none
from launcher.os_errors import PatientReader, problem_of
from launcher.tables import table
from trainers.config.run_config import ResourcesConfig
from trainers.run.run_folder import RunFolder
from trainers.run.system_record import SystemTotals, last_sample

MIN_OBSERVED_S = 120.0
"""A run that was watched for less has shown its start-up alone."""
_SPARE_MEMORY = 1.2
_MAX_SHARE = 0.9
"""Of a GPU, for all of the runs that share it."""
_SHARES = (0.25, 0.5)


@frozen(kw_only=True)
class RunUsage:
    """What a run has used on the node of rank 0, over all attempts; None where it is not known."""

    name: str
    experiment: str
    folder: str
    node: str | None = None
    """Where it runs, or ran last."""
    gpu: str | None = None
    """The model of its GPUs there."""
    hours: float | None = None
    """For how long it was watched."""
    gpu_busy_percent: float | None = None
    """Time in which a kernel ran on the run's GPUs; on a shared GPU, any run's."""
    peak_gpu_memory_gb: float | None = None
    """On the GPU that had the most in use."""
    gpu_memory_gb: float | None = None
    """What that GPU has."""
    peak_memory_gb: float | None = None
    mean_cpus: float | None = None
    """Cores that were busy."""
    peak_cpus: float | None = None
    resources: dict[str, float] | None = None
    """What the run asked for on each node: gpus, cpus and memory_gb."""
    enough: dict[str, float] | None = None
    """What would have done, in the same way; None while it is too early to say."""
    problem: str = ""
    """Why nothing is known."""


def read_usage(runs: Sequence[RunFolder]) -> list[RunUsage]:
    """Return what each run has used; one whose files cannot be read says so in `problem`."""
    reader = PatientReader()
    return [_usage(run, reader) for run in runs]


def usage_table(usages: Sequence[RunUsage]) -> str:
    """Return a table with a row per run, and below it what the columns mean."""
    several = len({each.experiment for each in usages}) > 1
    rows = [
        (f"{each.experiment}/{each.name}" if several else each.name, *_cells(each))
        for each in usages
    ]
    header = ("RUN", "HOURS", "GPU BUSY", "GPU MEMORY", "MEMORY", "CPUS", "WOULD HAVE DONE")
    return (
        f"{table(header, rows)}\n"
        "memory: the peak, in GB; cpus: mean and peak of busy cores; each of what was asked for or "
        "is there"
    )


def enough(asked: ResourcesConfig, totals: SystemTotals) -> dict[str, float] | None:
    """Return the resources on each node that would have done; None while it is too early to say.

    Memory has a fifth to spare. Cores are those of the busiest 15 s. A GPU that was half idle, in
    time and in memory, could have been shared; several GPUs stay as many.
    """
    if totals.seconds < MIN_OBSERVED_S:
        return None
    return {
        "gpus": _enough_gpus(asked, totals),
        "cpus": max(asked.ranks_per_node, math.ceil(totals.peak_cores - 0.1)),
        "memory_gb": max(1, math.ceil(_SPARE_MEMORY * totals.peak_memory_gb)),
    }


def _enough_gpus(asked: ResourcesConfig, totals: SystemTotals) -> float:
    if asked.gpus != 1 or asked.nodes > 1 or not totals.gpu_s or not totals.gpu_memory_gb:
        return asked.gpus
    busy = totals.gpu_busy_s / totals.gpu_s
    memory = totals.peak_gpu_memory_gb / totals.gpu_memory_gb
    fitting = [share for share in _SHARES if max(busy, memory) <= _MAX_SHARE * share]
    return fitting[0] if fitting else asked.gpus


def _usage(run: RunFolder, reader: PatientReader) -> RunUsage:
    known = RunUsage(
        name=run.name, experiment=ExperimentFolder.of_run(run).name, folder=str(run.path)
    )
    try:
        sample = reader.read(partial(last_sample, run))
        config = reader.read(partial(config_or_none, run))
    except OSError as error:
        return attrs.evolve(known, problem=f"unreadable: {problem_of(error)}")
    if config:
        asked = config.resources
        resources = {"gpus": asked.gpus, "cpus": asked.cpus, "memory_gb": asked.memory_gb}
        known = attrs.evolve(known, resources=resources)
    if sample is None or not sample.totals.seconds:
        return attrs.evolve(known, problem="no figures yet: the first come 15 s after a start")
    totals = sample.totals
    return attrs.evolve(
        known,
        node=sample.node,
        gpu=sample.gpus[0] if sample.gpus else None,
        hours=round(totals.seconds / 3600, 3),
        gpu_busy_percent=round(100 * totals.gpu_busy_s / totals.gpu_s, 1) if totals.gpu_s else None,
        peak_gpu_memory_gb=totals.peak_gpu_memory_gb or None,
        gpu_memory_gb=totals.gpu_memory_gb or None,
        peak_memory_gb=totals.peak_memory_gb,
        mean_cpus=round(totals.cpu_s / totals.seconds, 2),
        peak_cpus=round(totals.peak_cores, 2),
        enough=enough(config.resources, totals) if config else None,
    )


def _cells(usage: RunUsage) -> tuple[str, ...]:
    if usage.problem:
        return ("", "", "", "", "", usage.problem)
    asked = usage.resources or {}
    return (
        f"{usage.hours:.2f}",
        "" if usage.gpu_busy_percent is None else f"{usage.gpu_busy_percent:.0f} %",
        _of(usage.peak_gpu_memory_gb, usage.gpu_memory_gb),
        _of(usage.peak_memory_gb, asked.get("memory_gb")),
        f"{usage.mean_cpus:.1f}, {_of(usage.peak_cpus, asked.get('cpus'))}",
        _show(usage.enough, asked),
    )


def _of(used: float | None, there: float | None) -> str:
    if used is None:
        return ""
    return f"{used:.1f}" + (f" of {there:g}" if there else "")


def _show(found: dict[str, Any] | None, asked: dict[str, float]) -> str:
    if found is None:
        return "too early to say"
    if found == asked:
        return "what it asked for"
    return ", ".join(f"{key}: {value:g}" for key, value in found.items() if value != asked.get(key))

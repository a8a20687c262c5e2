"""Explain a cluster: every value, and where it comes from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import inf
from pathlib import Path
from typing import Any

import attrs
from attrs import frozen

from launcher.clusters.cluster_search import Cluster
from launcher.clusters.slurm_cluster_config import SlurmClusterConfig
from launcher.clusters.slurm_limits import as_seen
from launcher.clusters.slurm_target import SlurmTarget, resolve_target
from launcher.errors import LauncherError
from launcher.slurm.site import NodeGroup, SlurmPartition, SlurmSite
from launcher.tables import finite, short, show_memory, show_seconds, table
from trainers.config_faults import show

_PREEMPTION = {
    "partition_prio": "jobs are preempted by jobs in partitions of a higher tier",
    "qos": "jobs are preempted by jobs of certain QOS",
    "none": "jobs are not preempted",
}


@frozen(kw_only=True)
class ExplainedValue:
    """One value of a cluster, and where it comes from."""

    field: str
    value: Any
    source: str


@frozen(kw_only=True)
class ClusterReport:
    """A cluster config, and what Slurm says about the cluster."""

    path: Path
    kind: str
    description: str
    values: tuple[ExplainedValue, ...]
    limits: tuple[ExplainedValue, ...] = ()
    """Of a job, on all its nodes together."""
    notes: tuple[str, ...] = ()
    site: SlurmSite | None = None
    problem: str | None = None
    """Why Slurm did not answer, or how its answer contradicts the config."""


def report_cluster(cluster: Cluster, ask_site: Callable[[], SlurmSite]) -> ClusterReport:
    """Collect all about a cluster that does not depend on the runs.

    Args:
        ask_site: Called for a cluster of kind slurm; may raise LauncherError.
    """
    config = cluster.config
    report = ClusterReport(
        path=cluster.path,
        kind=config.kind,
        description=config.description,
        values=tuple(_configured(cluster)),
    )
    if not isinstance(config, SlurmClusterConfig):
        return report
    try:
        site = ask_site()
        rules: dict[str, Any] = {
            "account": config.account,
            "qos": config.qos,
            "has_reservation": config.has_reservation,
        }
        report = attrs.evolve(report, site=as_seen(site, **rules))
        target = resolve_target(config, site, config_source=short(cluster.path))
    except LauncherError as error:
        return attrs.evolve(report, problem=str(error))
    return attrs.evolve(
        report,
        values=tuple(_decided(target)),
        limits=tuple(_limits(target)),
        notes=target.notes,
    )


def report_text(report: ClusterReport) -> str:
    """Return the report as text."""
    rows = [(each.field, _shown(each.value), each.source) for each in report.values]
    parts = [f"{short(report.path)}, of kind {report.kind}: {report.description}"]
    if rows:
        parts.append(table(("FIELD", "VALUE", "FROM"), rows))
    if report.limits:
        rows = [(each.field, _shown(each.value), each.source) for each in report.limits]
        parts.append(table(("A JOB HAS AT MOST", "", "FROM"), rows))
    parts += report.notes
    if report.problem:
        parts.append(report.problem)
    if report.site:
        parts.append(_site_text(report.site))
    return "\n\n".join(parts)


def report_json(report: ClusterReport) -> dict[str, Any]:
    """Return the report as plain data."""
    data = attrs.asdict(report, value_serializer=_plain)
    return {**data, "path": str(report.path)}


def _plain(_: object, __: object, value: Any) -> Any:
    return sorted(value) if isinstance(value, frozenset) else finite(value)


def _configured(cluster: Cluster) -> Iterator[ExplainedValue]:
    source = cluster.source
    for name, value in attrs.asdict(cluster.config, recurse=False).items():
        if name not in ("kind", "description"):
            where = str(source.location((name,))) if name in source.data else "default"
            yield ExplainedValue(field=name, value=value, source=where)


def _decided(target: SlurmTarget) -> Iterator[ExplainedValue]:
    values = target.values
    for field in attrs.fields(SlurmClusterConfig):
        if field.name in values:
            yield ExplainedValue(
                field=field.name, value=values[field.name], source=target.sources[field.name]
            )


def _limits(target: SlurmTarget) -> Iterator[ExplainedValue]:
    for name, who in target.job.sources.items():
        yield ExplainedValue(field=name, value=getattr(target.job, name), source=f"Slurm: {who}")


def _shown(value: Any) -> str:
    if value in (None, (), {}, inf):
        return "-"
    if isinstance(value, float):
        return f"{value:g}"
    return value if isinstance(value, str) else show(value)


def _site_text(site: SlurmSite) -> str:
    signals = "the user signal first, SIGTERM after the grace"
    notes = [
        f"Slurm {site.version}, cluster {site.cluster_name}: {_PREEMPTION[site.preempt_by]}",
        f"a preempted job gets {signals if site.send_user_signal else 'SIGTERM'}",
        f"sacct {'knows' if site.accounting else 'does not know'} how jobs have ended",
    ]
    if not site.tracks_memory:
        notes.append("memory is not given to jobs, and nodes may not say how much they have")
    notes += [
        f"partition {each.name} {each.closed_because}"
        for each in site.partitions
        if each.closed_because
    ]
    rows = [_row(partition, group) for partition in site.partitions for group in partition.groups]
    header = ("PARTITION", "NODES", "GPUS", "CPUS", "MEMORY", "LONGEST JOB", "GRACE", "TIER")
    return "\n".join((*notes, table(header, rows)))


def _row(partition: SlurmPartition, group: NodeGroup) -> tuple[str, ...]:
    notes = [
        note
        for note, applies in (
            ("(default)", partition.is_default),
            ("(closed)", not partition.is_up or partition.closed_because),
        )
        if applies
    ]
    unusable = f", {group.num_unusable} down or reserved" if group.num_unusable else ""
    time = partition.max_time_s
    return (
        " ".join((partition.name, *notes)),
        f"{group.num_nodes}{unusable}",
        " ".join(filter(None, (str(group.shape.gpus), group.gpu_type))),
        str(group.shape.cpus),
        show_memory(group.shape.memory_gb, ".4g"),
        "no limit" if time is None else show_seconds(time),
        f"{partition.grace_s} s",
        str(partition.priority_tier),
    )

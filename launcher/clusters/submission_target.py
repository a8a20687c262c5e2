"""Choose where the runs of a submission go, from config, options, and what Slurm says."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any, Literal

import attrs
from attrs import field, frozen
from attrs.validators import ge, optional

from launcher.clusters.cluster_search import Cluster
from launcher.clusters.slurm_cluster_config import SlurmClusterConfig
from launcher.clusters.slurm_limits import SubmitLimit
from launcher.clusters.slurm_target import SlurmTarget, limits_elsewhere, resolve_target
from launcher.errors import LauncherError
from launcher.packing.demand import Demand, PackLimits
from launcher.slurm import client
from launcher.slurm.jobs import QueuedJob
from launcher.tables import short
from trainers.config.run_config import RunConfig


@frozen(kw_only=True)
class SlurmOptions:
    """Options of a submission, which override the cluster config and Slurm's own defaults."""

    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    time: str | None = None
    """The longest job, `HH:MM:SS`; longer runs are resumed in the next one."""
    nodes: int | None = field(default=None, validator=optional(ge(1)))
    """Nodes per job."""
    pack: Literal["auto", "none"] | int | None = None
    """Runs per job: "auto" and None are as many as fit, "none" is one, a number is the most."""
    gpu_type: str | None = None
    """The type of GPUs, as Slurm names it; None: the one that the runs began on, or any."""
    exclude: str | None = None
    """Nodes that no job gets, in place of those that the config excludes."""

    @property
    def given(self) -> dict[str, Any]:
        """The options that are set, by name."""
        return {name: value for name, value in attrs.asdict(self).items() if value is not None}

    def refuse_unless_slurm(self, cluster: Cluster) -> None:
        """Refuse options that this cluster does not have.

        Raises:
            LauncherError: Some are set, and the cluster is not of kind slurm.
        """
        given = [f"--{name.replace('_', '-')}" for name in self.given]
        if given and not isinstance(cluster.config, SlurmClusterConfig):
            raise LauncherError(
                f"{', '.join(given)}: only for clusters of kind slurm, and {cluster.name} is not "
                "one; leave it out, or see `launch clusters` for others"
            )


@frozen(kw_only=True)
class SlurmChoice:
    """Where runs are submitted to, and how they may be packed."""

    cluster: str
    """As given to `--cluster`."""
    target: SlurmTarget
    limits: PackLimits
    elsewhere: Callable[[], dict[str, PackLimits]]
    """Returns those of the other partitions, for advice: it takes seconds where there are many."""
    options: SlurmOptions = field(factory=SlurmOptions)
    """As given."""


def choose_target(
    cluster: Cluster,
    configs: Sequence[RunConfig],
    options: SlurmOptions,
    kept_gpu_types: Mapping[str, str],
) -> SlurmChoice:
    """Ask Slurm, and choose.

    Args:
        cluster: Of kind slurm.
        kept_gpu_types: The types of GPUs that runs began on, by the names of the runs.

    Raises:
        SlurmError: Slurm does not answer.
        DoesNotFitError: No partition has what the runs need.
        LauncherError: A name is unknown, or a value is above a limit.
    """
    assert isinstance(cluster.config, SlurmClusterConfig)
    site = client.ask_site()
    arguments: dict[str, Any] = {
        "config_source": short(cluster.path),
        "demands": [demand_of(each) for each in configs],
        "account": options.account,
        "qos": options.qos,
        "time": options.time,
        "nodes": options.nodes,
        "gpu_type": options.gpu_type,
        "exclude": options.exclude,
        "kept_gpu_types": kept_gpu_types,
    }
    target = resolve_target(cluster.config, site, partition=options.partition, **arguments)
    return SlurmChoice(
        cluster=cluster.reference,
        target=target,
        limits=_limits(target, _runs_per_pack(options.pack)),
        elsewhere=partial(limits_elsewhere, target, cluster.config, site, **arguments),
        options=options,
    )


def demand_of(config: RunConfig) -> Demand:
    """Return what a run asks for."""
    resources = config.resources
    return Demand(
        name=config.name,
        nodes=resources.nodes,
        gpus=resources.gpus,
        cpus=resources.cpus,
        memory_gb=resources.memory_gb,
        time_s=resources.time_s,
    )


def _limits(target: SlurmTarget, runs_per_pack: int | None) -> PackLimits:
    limits = target.pack_limits(runs_per_pack)
    if not target.submit_limits:
        return limits
    most = jobs_left(target.submit_limits, client.queued_jobs().values())
    return attrs.evolve(limits, max_packs=most)


def jobs_left(limits: Sequence[SubmitLimit], queue: Collection[QueuedJob]) -> int:
    """Return how many jobs the user may still submit.

    Args:
        limits: At least one.
        queue: The user's jobs that are in the queue; of these, some count towards each limit.

    Raises:
        LauncherError: No further one may be submitted.
    """
    left = []
    for limit in limits:
        queued = sum(map(limit.counts, queue))
        if queued >= limit.most:
            raise LauncherError(
                f"{queued} jobs are in the queue{limit.where}, and the limit is {limit.most} "
                f"({limit.source}); wait for some to end, or cancel some"
            )
        left.append(limit.most - queued)
    return min(left)


def _runs_per_pack(pack: str | int | None) -> int | None:
    """Return the most runs per job; None: as many as fit."""
    if pack is None or pack == "auto":
        return None
    return 1 if pack == "none" else int(pack)

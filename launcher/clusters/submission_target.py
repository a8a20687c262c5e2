"""Choose where the runs of a submission go, from config, options, and what Slurm says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import attrs
from attrs import field, frozen
from attrs.validators import ge, optional

from launcher.clusters.cluster_search import Cluster
from launcher.clusters.slurm_cluster_config import SlurmClusterConfig
from launcher.clusters.slurm_target import SlurmTarget, resolve_target
from launcher.errors import LauncherError
from launcher.packing.demand import Demand, PackLimits
from launcher.slurm import client
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

    @property
    def given(self) -> dict[str, Any]:
        """The options that are set, by name."""
        return {name: value for name, value in attrs.asdict(self).items() if value is not None}

    def refuse_unless_slurm(self, cluster: Cluster) -> None:
        """Refuse options that this cluster does not have.

        Raises:
            LauncherError: Some are set, and the cluster is not of kind slurm.
        """
        given = [f"--{name}" for name in self.given]
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
    elsewhere: dict[str, PackLimits]
    """Of the other partitions, for advice."""
    options: SlurmOptions = field(factory=SlurmOptions)
    """As given."""


def choose_target(
    cluster: Cluster, configs: Sequence[RunConfig], options: SlurmOptions
) -> SlurmChoice:
    """Ask Slurm, and choose.

    Args:
        cluster: Of kind slurm.

    Raises:
        SlurmError: Slurm does not answer.
        DoesNotFitError: No partition has what the runs need.
        LauncherError: A name is unknown, or a value is above a limit.
    """
    assert isinstance(cluster.config, SlurmClusterConfig)
    site = client.ask_site()
    target = resolve_target(
        cluster.config,
        site,
        config_source=short(cluster.path),
        demands=[demand_of(each) for each in configs],
        partition=options.partition,
        account=options.account,
        qos=options.qos,
        time=options.time,
        nodes=options.nodes,
    )
    return SlurmChoice(
        cluster=cluster.reference,
        target=target,
        limits=_limits(target, _runs_per_pack(options.pack)),
        elsewhere=target.elsewhere(site),
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
    """Return the limits of packs; of jobs, the ones that the user may still submit.

    Raises:
        LauncherError: The user has as many jobs in the queue as allowed.
    """
    limits = target.pack_limits(runs_per_pack)
    if limits.max_packs is None:
        return limits
    queued = len(client.queued_jobs())
    if queued >= limits.max_packs:
        raise LauncherError(
            f"{queued} jobs are in the queue, and the limit is {limits.max_packs} "
            f"({target.sources['max_submit_jobs']}); wait for some to end, or cancel some"
        )
    return attrs.evolve(limits, max_packs=limits.max_packs - queued)


def _runs_per_pack(pack: str | int | None) -> int | None:
    """Return the most runs per job; None: as many as fit."""
    if pack is None or pack == "auto":
        return None
    return 1 if pack == "none" else int(pack)

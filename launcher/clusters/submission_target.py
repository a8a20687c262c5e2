"""From a cluster config, the command line, and what Slurm says, to where the runs go."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence

import attrs
from attrs import frozen

from launcher.clusters.cluster_search import find_cluster
from launcher.clusters.slurm_cluster_config import SlurmClusterConfig
from launcher.clusters.slurm_target import SlurmTarget, resolve_target
from launcher.errors import LauncherError
from launcher.packing.demand import Demand, PackLimits
from launcher.slurm import client
from launcher.tables import short
from trainers.config.run_config import RunConfig


@frozen(kw_only=True)
class SlurmChoice:
    """Where the runs go, and how they are packed."""

    cluster: str
    """As `--cluster` named it."""
    target: SlurmTarget
    limits: PackLimits
    elsewhere: dict[str, PackLimits]
    """Of the other partitions, for advice."""


def choose(
    arguments: Namespace, config: SlurmClusterConfig, configs: Sequence[RunConfig]
) -> SlurmChoice:
    """Ask Slurm what there is, and decide.

    Raises:
        SlurmError: It does not answer.
        DoesNotFitError: No partition has what the runs need.
        LauncherError: A name is not known, or a value is above a limit.
    """
    site = client.ask_site()
    target = resolve_target(
        config,
        site,
        config_source=short(find_cluster(arguments.cluster)),
        demands=[demand_of(each) for each in configs],
        partition=arguments.partition,
        account=arguments.account,
        qos=arguments.qos,
        time=arguments.time,
        nodes=arguments.nodes,
    )
    return SlurmChoice(
        cluster=arguments.cluster,
        target=target,
        limits=_limits(target, _runs_per_pack(arguments.pack)),
        elsewhere=target.elsewhere(site),
    )


def _limits(target: SlurmTarget, runs_per_pack: int | None) -> PackLimits:
    """With the jobs that the user may still submit beside those that there are.

    Raises:
        LauncherError: There are as many as may be.
    """
    limits = target.pack_limits(runs_per_pack)
    if limits.max_packs is None:
        return limits
    queued = len(client.queued_jobs())
    if queued >= limits.max_packs:
        raise LauncherError(
            f"{queued} jobs are in the queue, and {limits.max_packs} may be "
            f"({target.sources['max_submit_jobs']}); wait for some to end, or cancel some"
        )
    return attrs.evolve(limits, max_packs=limits.max_packs - queued)


def _runs_per_pack(pack: str | int | None) -> int | None:
    """None: as many as fit."""
    if pack is None or pack == "auto":
        return None
    return 1 if pack == "none" else int(pack)


def demand_of(config: RunConfig) -> Demand:
    """What one run asks for."""
    resources = config.resources
    return Demand(
        name=config.name,
        nodes=resources.nodes,
        gpus=resources.gpus,
        cpus=resources.cpus,
        memory_gb=resources.memory_gb,
        time_s=resources.time_s,
    )

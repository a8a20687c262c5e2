"""Resolve a cluster config to a target: all that a job asks for besides its runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil
from typing import Any

import attrs
from attrs import frozen

from launcher.clusters.slurm_choices import (
    Choices,
    Limits,
    choose_account,
    choose_grace,
    choose_memory,
    choose_nodelist,
    choose_nodes_per_job,
    choose_partition,
    choose_qos,
    choose_time_limit,
)
from launcher.clusters.slurm_cluster_config import SlurmClusterConfig
from launcher.clusters.slurm_gpus import (
    choose_gpu_request,
    choose_gpu_type,
    choose_gpus,
    with_stated_gpus,
)
from launcher.clusters.slurm_nodes import choose_nodes
from launcher.packing.demand import Demand, NodeShape, PackLimits
from launcher.slurm.site import SlurmSite
from launcher.tables import show_seconds

_LEAD_S = 120
"""Minimum time between the signal and the time limit; a checkpoint must fit in it."""


@frozen(kw_only=True)
class SlurmTarget:
    """All that a job asks for besides its runs, fully resolved."""

    partition: str
    account: str | None
    """None: the user's default account."""
    qos: str | None
    """None: the account's default QOS."""
    constraint: str | None
    reservation: str | None
    exclude: str | None
    nodelist: str | None
    wckey: str | None
    comment: str | None
    nodes: int
    """Nodes per job, if there are enough runs."""
    max_nodes: int | None
    """The most nodes of a job, for a run that needs more than `nodes`."""
    shape: NodeShape
    """What a job may use of one node."""
    gpu_type: str | None
    """The type of its GPUs; None: without a type, or not known."""
    names_gpu_type: bool
    """Whether jobs ask for that type."""
    gpu_request: str
    """The option of sbatch that asks for GPUs; `none`: jobs get whole nodes."""
    memory: str
    """How memory is asked for: `per-node`, `per-cpu`, `per-gpu` or `none`."""
    time_limit_s: int | None
    """The longest job; None: as long as its runs need."""
    grace_s: float
    """Between the preemption signal and the kill."""
    signal: str
    """Sent by Slurm before the time limit."""
    max_array_size: int
    max_submit_jobs: int | None
    """Of the user, running and pending."""
    max_running: int | None
    """Jobs of one submission that run at once."""
    requeue: str
    """`scontrol`, with a resubmission where that is refused; or always `resubmit`."""
    accounting: bool
    setup: tuple[str, ...]
    environment: Mapping[str, Any]
    sbatch: Mapping[str, Any]
    sources: Mapping[str, str]
    """Where each value comes from, by the name of its field in the config: an option of the command
    line, the config, Slurm, or a default."""

    def with_sbatch(self, options: Mapping[str, Any]) -> SlurmTarget:
        """Return the target with further options of sbatch, in place of its own of these names."""
        kept = {
            name: value
            for name, value in self.sbatch.items()
            if name.replace("_", "-") not in options
        }
        return attrs.evolve(self, sbatch={**kept, **options})

    @property
    def values(self) -> dict[str, Any]:
        """The resolved values, by the names of the fields in the config."""
        time = None if self.time_limit_s is None else show_seconds(self.time_limit_s)
        sizes = {f"{name}_per_node": size for name, size in attrs.asdict(self.shape).items()}
        found = {"time": time, **sizes}
        return {name: found.get(name, getattr(self, name, None)) for name in self.sources}

    @property
    def signal_lead_s(self) -> int:
        """Time between the signal and the time limit; at most a third of the job."""
        lead_s = max(ceil(self.grace_s), _LEAD_S)
        return lead_s if self.time_limit_s is None else min(lead_s, self.time_limit_s // 3)

    def pack_limits(self, runs_per_pack: int | None = None) -> PackLimits:
        """Return the limits of packs."""
        return PackLimits(
            shape=self.shape,
            time_limit_s=self.time_limit_s,
            nodes_per_pack=self.nodes,
            max_nodes=self.max_nodes,
            runs_per_pack=runs_per_pack,
            max_packs=self.max_submit_jobs,
        )

    def elsewhere(self, site: SlurmSite) -> dict[str, PackLimits]:
        """Return the limits of packs on the largest nodes of the other partitions, by name."""
        return {
            partition.name: PackLimits(
                shape=max(
                    (group.shape for group in partition.groups),
                    key=lambda shape: (shape.gpus, shape.cpus, shape.memory_gb),
                ),
                time_limit_s=partition.max_time_s,
                max_nodes=partition.max_nodes,
            )
            for partition in site.open_partitions
            if partition.name != self.partition and partition.groups
        }


def resolve_target(
    config: SlurmClusterConfig,
    site: SlurmSite,
    *,
    config_source: str,
    demands: Sequence[Demand] = (),
    kept_gpu_types: Mapping[str, str] | None = None,
    partition: str | None = None,
    account: str | None = None,
    qos: str | None = None,
    time: str | None = None,
    nodes: int | None = None,
    gpu_type: str | None = None,
    exclude: str | None = None,
) -> SlurmTarget:
    """Resolve all values: the command line beats the config, which beats what Slurm says.

    Args:
        config_source: How messages call the config.
        demands: Of the runs; the partition and the nodes are chosen so that most of them fit.
        kept_gpu_types: The types of GPUs that runs began on, by the names of the runs.
        partition: From the command line, like all that follow; None: not given.

    Raises:
        DoesNotFitError: No partition has GPUs, and the runs need some.
        LauncherError: A name is unknown, or a value is above a limit; names what is available.
    """
    choose = Choices(config, config_source)
    gpu_request = choose_gpu_request(choose, config, site, demands)
    if gpu_request == "none" and config.gpus_per_node is not None:
        site = with_stated_gpus(site, config.gpus_per_node)
    wanted = choose_gpu_type(choose, gpu_type, kept_gpu_types or {}, site)
    among = wanted.gpu_type if wanted.is_known else None
    queue = choose_partition(choose, partition, site, demands, among)
    account = choose_account(choose, account, site)
    association = site.association(account=account, partition=queue.name)
    qos = choose_qos(choose, qos, site, association)
    job_qos = site.qos(qos or (association.default_qos if association else None))
    limits = Limits(queue, site.qos(queue.qos), job_qos, association)
    gpus = choose_gpus(choose, config, site, queue, demands, wanted)
    chosen = choose_nodes(config, gpus.partition, demands, config_source=config_source)
    choose.sources |= chosen.sources
    max_nodes = min(filter(None, (queue.max_nodes, chosen.num_nodes)), default=None)
    max_submit_jobs, who = limits.submit_jobs()
    nodes = choose_nodes_per_job(choose, nodes, queue, max_nodes)
    return SlurmTarget(
        partition=queue.name,
        account=account,
        qos=qos,
        constraint=choose("constraint", None, None, "default"),
        reservation=choose("reservation", None, None, "default"),
        exclude=choose("exclude", exclude, None, "default"),
        nodelist=choose_nodelist(choose, nodes),
        wckey=choose("wckey", None, None, "Slurm: the user's default one, if there are any"),
        comment=choose("comment", None, None, "default"),
        nodes=nodes,
        max_nodes=max_nodes,
        shape=chosen.shape,
        gpu_type=gpus.gpu_type,
        names_gpu_type=gpus.is_asked_for,
        gpu_request=gpu_request,
        memory=choose_memory(choose, config.sbatch, site),
        time_limit_s=choose_time_limit(choose, time, limits, site),
        grace_s=choose_grace(choose, site, queue, job_qos),
        signal=choose("signal", None, "USR2", "default"),
        max_array_size=choose("max_array_size", None, site.max_array_size, "Slurm: MaxArraySize"),
        max_submit_jobs=choose("max_submit_jobs", None, max_submit_jobs, f"Slurm: {who}"),
        max_running=choose("max_running", None, None, "default"),
        requeue=choose("requeue", None, "scontrol", "default; resubmits where that is refused"),
        accounting=choose("accounting", None, site.accounting, "Slurm: AccountingStorageType"),
        setup=choose("setup", None, (), "default"),
        environment=choose("environment", None, {}, "default"),
        sbatch=choose("sbatch", None, {}, "default"),
        sources=choose.sources,
    )

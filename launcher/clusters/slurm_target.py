"""Resolve a cluster config to a target: all that a job asks for besides its runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from math import ceil
from typing import Any

import attrs
from attrs import frozen

from launcher.clusters.slurm_choices import (
    Choices,
    choose_account,
    choose_grace,
    choose_memory,
    choose_nodelist,
    choose_nodes_per_job,
    choose_partitions,
    choose_qos,
    choose_submit_limits,
    choose_time_limit,
    refuse_closed,
)
from launcher.clusters.slurm_cluster_config import SlurmClusterConfig
from launcher.clusters.slurm_gpus import (
    choose_gpu_request,
    choose_gpu_type,
    choose_gpus,
    with_stated_gpus,
)
from launcher.clusters.slurm_limits import (
    WORDS,
    Limits,
    SubmitLimit,
    as_seen,
    least,
    sources_within,
    tightest,
    within,
)
from launcher.clusters.slurm_nodes import choose_nodes
from launcher.clusters.slurm_partitions import joined, with_constraint
from launcher.clusters.slurm_surprises import surprises
from launcher.errors import LauncherError
from launcher.packing.demand import Demand, JobLimits, NodeShape, PackLimits
from launcher.slurm.site import SlurmSite
from launcher.tables import show_seconds

_LEAD_S = 120
"""Minimum time between the signal and the time limit; a checkpoint must fit in it."""


@frozen(kw_only=True)
class SlurmTarget:
    """All that a job asks for besides its runs, fully resolved."""

    partition: str
    """Its name; or several with commas, of which Slurm takes the first that is free."""
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
    job: JobLimits
    """What a job may use of all its nodes together."""
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
    submit_limits: tuple[SubmitLimit, ...]
    """Which jobs count towards that."""
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
    notes: tuple[str, ...] = ()
    """What the user may not expect, a sentence each."""

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
    def limits(self) -> tuple[str, ...]:
        """What a job may ask for at most, and whose limit that is; besides what nodes have."""
        return tuple(
            f"{getattr(self.job, name):g} {words}, by {self.job.sources[name]}"
            for name, words in WORDS.items()
            if name in self.job.sources
        )

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
            max_packs_later=self.max_submit_jobs,
            job=self.job,
        )


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
    site = site.in_reservation(config.reservation_name)
    if gpu_request == "none" and config.gpus_per_node is not None:
        site = with_stated_gpus(site, config.gpus_per_node)
    wanted = choose_gpu_type(choose, gpu_type, kept_gpu_types or {}, site)
    account = choose_account(choose, account, site)
    rules: dict[str, Any] = {
        "account": account,
        "qos": qos or config.qos,
        "has_reservation": config.has_reservation,
    }
    seen = as_seen(site, **rules)
    if not seen.knows_gpus:  # a limit is what forbids them, not the lack of them
        seen = as_seen(site, **rules, whole_nodes=True)
    among = wanted.gpu_type if wanted.is_known else None
    queues = choose_partitions(choose, partition, seen, demands, among, rules)
    qos = choose_qos(choose, qos, seen, account, queues[0])
    doubts = [refuse_closed(choose, seen, each, rules) for each in queues]
    having = [with_constraint(each, config.constraint, config_source) for each in queues]
    queue = joined(having)
    gpus = choose_gpus(choose, config, seen, queue, having, demands, wanted)
    asked_type = gpus.gpu_type if gpus.is_asked_for else None
    limits = [Limits.of(seen, each, account, qos, asked_type) for each in queues]
    elsewhere = [
        Limits.of(seen, each, account, qos, asked_type)
        for each in seen.open_partitions
        if each not in queues
    ]
    job = tightest([each.of_job() for each in limits])
    of_node = tightest([each.of_node() for each in limits])
    nodes_within = within(gpus.partition, of_node, job)
    chosen = choose_nodes(
        config, nodes_within, demands, config_source=config_source, limits=(of_node, job)
    )
    choose.sources |= sources_within(chosen.shape, chosen.sources, of_node, job)
    most_nodes, who = least(
        (queue.max_nodes, ""), (chosen.num_nodes, ""), *(each.nodes() for each in limits)
    )
    max_nodes = None if most_nodes is None else int(most_nodes)
    nodes = choose_nodes_per_job(choose, nodes, queue, max_nodes, who)
    submit_limits = choose_submit_limits(choose, queues, limits)
    max_submit_jobs = min((each.most for each in submit_limits), default=None)
    return SlurmTarget(
        partition=queue.name,
        account=account,
        qos=qos,
        constraint=choose("constraint", None, None, "default"),
        reservation=choose("reservation", None, None, "default"),
        exclude=choose("exclude", exclude, None, "default"),
        nodelist=choose_nodelist(choose, nodes, demands),
        wckey=choose("wckey", None, None, "Slurm: the user's default one, if there are any"),
        comment=choose("comment", None, None, "default"),
        nodes=nodes,
        max_nodes=max_nodes,
        shape=chosen.shape,
        job=job,
        gpu_type=gpus.gpu_type,
        names_gpu_type=gpus.is_asked_for,
        gpu_request=gpu_request,
        memory=choose_memory(choose, config.sbatch, site, gpu_request),
        time_limit_s=choose_time_limit(choose, time, limits, elsewhere),
        grace_s=choose_grace(choose, site, queue, limits[0].qos),
        signal=choose("signal", None, "USR2", "default"),
        max_array_size=choose("max_array_size", None, site.max_array_size, "Slurm: MaxArraySize"),
        max_submit_jobs=max_submit_jobs,
        submit_limits=submit_limits,
        max_running=choose("max_running", None, None, "default"),
        requeue=choose("requeue", None, "scontrol", "default; resubmits where that is refused"),
        accounting=choose("accounting", None, site.accounting, "Slurm: AccountingStorageType"),
        setup=choose("setup", None, (), "default"),
        environment=choose("environment", None, {}, "default"),
        sbatch=choose("sbatch", None, {}, "default"),
        sources=choose.sources,
        notes=(*filter(None, doubts), *surprises(chosen, queues, limits[0].qos, job, site)),
    )


def limits_elsewhere(
    target: SlurmTarget, config: SlurmClusterConfig, site: SlurmSite, **options: Any
) -> dict[str, PackLimits]:
    """Return the limits of packs in the other partitions that the user may use, by name.

    They are those of a submission with `--partition NAME`: what is advised holds there, too.

    Args:
        options: Of `resolve_target`, for all partitions.
    """
    found = {}
    seen = as_seen(
        site, account=target.account, qos=target.qos, has_reservation=config.has_reservation
    )
    for partition in seen.open_partitions:
        if partition.name in target.partition.split(",") or not partition.groups:
            continue
        with suppress(LauncherError):  # there, the config or an option asks for too much
            other = resolve_target(config, site, partition=partition.name, **options)
            found[partition.name] = other.pack_limits()
    return found

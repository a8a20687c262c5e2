"""Parse what Slurm's commands print about a cluster."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from launcher.packing.demand import NodeShape
from launcher.slurm.access import SlurmUser, read_access
from launcher.slurm.gres import gpus_by_type
from launcher.slurm.parse_accounting import parse_accounts, parse_associations, parse_qoses
from launcher.slurm.parsing import (
    NOTHING,
    expand_hosts,
    read_number,
    read_records,
    read_seconds,
    read_settings,
)
from launcher.slurm.site import Maintenance, NodeGroup, Reservation, SlurmPartition, SlurmSite

_UNUSABLE = re.compile(
    r"[*$]|\b(BLOCKED|DOWN|DRAIN|ERROR|FAIL|FUTURE|INVAL|MAINT|NOT_RESPONDING|RESERVED|UNKNOWN)"
)
"""In the state of a node that takes no jobs, or only those of a reservation; a node that is powered
down does, and is resumed."""

_KEPT = re.compile(r"\+?\b(RESERVED|MAINT(ENANCE)?)\b")
"""In the state of a node that is kept for the jobs of a reservation."""

_Node = tuple[str, int, int, float, frozenset[str], bool]
"""GRES, CPUs, sockets, memory in MB, features, and whether it takes jobs now."""


def parse_site(
    *,
    config: str,
    partitions: str,
    nodes: str,
    qoses: str = "",
    associations: str = "",
    reservations: str = "",
    accounts: str = "",
    default_account: str = "",
    user: SlurmUser | None = None,
) -> SlurmSite:
    """Parse a cluster.

    Args:
        config: Output of `scontrol show config`.
        partitions: Output of `scontrol show partition --all --local --oneliner`.
        nodes: Output of `scontrol show node --local --oneliner`.
        qoses: Output of `sacctmgr show qos` with `QOS_COLUMNS`; this and what follows are empty
            where there is no accounting.
        associations: Output of `sacctmgr show assoc` with `ASSOCIATION_COLUMNS`.
        reservations: Output of `scontrol show reservation --oneliner`.
        accounts: Output of `sacctmgr show assoc` with `ACCOUNT_COLUMNS`.
        default_account: Output of `sacctmgr show user` with DefaultAccount alone.
        user: Who asks; None: unknown.
    """
    settings = read_settings(config)
    enforced = _enforced(settings)
    limits_hold = enforced is None or not enforced.isdisjoint(("limits", "safe", "all"))
    node_records = _of_cluster(read_records(nodes), settings)
    partition_records = [
        record
        for record in _of_cluster(read_records(partitions), settings)
        if "PartitionName" in record
    ]
    by_partition = _groups(node_records)
    return SlurmSite(
        version=settings.get("SLURM_VERSION", "unknown"),
        cluster_name=settings.get("ClusterName", "unknown"),
        max_array_size=_max_array_size(settings),
        accounting=settings.get("AccountingStorageType", "") == "accounting_storage/slurmdbd",
        preempt_by=_preempt_by(settings),
        send_user_signal="preempt_send_user_signal" in settings.get("SlurmctldParameters", ""),
        takes_gpu_options=_takes_gpu_options(settings),
        kill_wait_s=read_number(settings.get("KillWait", "")) or 0,
        job_requeue=settings.get("JobRequeue") == "1",
        partitions=tuple(
            _partition(record, by_partition.get(record["PartitionName"], Counter()), settings)
            for record in partition_records
        ),
        qoses=parse_qoses(qoses, enforced=limits_hold),
        associations=parse_associations(associations, enforced=limits_hold),
        accounts=parse_accounts(accounts, enforced=limits_hold),
        default_account=_value(default_account.strip()),
        enforces_associations=enforced is not None and "none" not in enforced,
        tracks_memory=_tracks_memory(settings, node_records),
        suspends=bool(re.search("SUSPEND|GANG", settings.get("PreemptMode", ""))),
        maintenances=tuple(_maintenances(read_records(reservations))),
        reservations=tuple(
            _reservation(record, partition_records, node_records, settings)
            for record in read_records(reservations)
            if "FLEX" not in record.get("Flags", "").split(",")
        ),
        user=user,
    )


def _maintenances(records: Iterable[Mapping[str, str]]) -> Iterator[Maintenance]:
    """Yield those to come; while one lasts, its nodes say so."""
    for record in records:
        is_to_come = record.get("State", "INACTIVE") == "INACTIVE"
        if "MAINT" in record.get("Flags", "").split(",") and is_to_come:
            yield Maintenance(
                name=record.get("ReservationName", "unknown"),
                start=record.get("StartTime", "unknown"),
                num_nodes=read_number(record.get("NodeCnt", "")) or 0,
            )


def _reservation(
    record: Mapping[str, str],
    partitions: Iterable[Mapping[str, str]],
    nodes: Iterable[Mapping[str, str]],
    settings: Mapping[str, str],
) -> Reservation:
    names = record.get("Nodes", "")
    hosts = frozenset() if names in NOTHING else frozenset(expand_hosts(names))
    own = [
        {**node, "State": _KEPT.sub("", node.get("State", "UNKNOWN"))}
        for node in nodes
        if node.get("NodeName") in hosts
    ]
    counted = _groups(own)
    return Reservation(
        name=record.get("ReservationName", "unknown"),
        groups={
            name: _node_groups(each, counted[name], settings)
            for each in partitions
            if (name := each["PartitionName"]) in counted
        },
    )


def _max_array_size(settings: Mapping[str, str]) -> int:
    """Return the most tasks of an array; 1 if the cluster takes no arrays (MaxArraySize=0)."""
    size = read_number(settings.get("MaxArraySize", "")) or 1
    limit = re.search(r"max_array_tasks=(\d+)", settings.get("SchedulerParameters", ""))
    return max(1, min(size, int(limit[1]))) if limit else size


def _takes_gpu_options(settings: Mapping[str, str]) -> bool:
    """Return whether GPUs are more than generic resources; they are not where Slurm is old."""
    return settings.get("SelectType") not in ("select/cons_res", "select/linear")


def _preempt_by(settings: Mapping[str, str]) -> str:
    plugin = settings.get("PreemptType", "").removeprefix("preempt/")
    return plugin if plugin in ("partition_prio", "qos") else "none"


def _enforced(settings: Mapping[str, str]) -> frozenset[str] | None:
    """Return what of accounts and QOS is enforced, such as limits; None if Slurm does not say."""
    text = settings.get("AccountingStorageEnforce")
    return None if text is None else frozenset(text.lower().split(","))


def _of_cluster(
    records: Iterable[Mapping[str, str]], settings: Mapping[str, str]
) -> list[Mapping[str, str]]:
    """Leave out the records of the other clusters of a federation."""
    name = settings.get("ClusterName")
    return [record for record in records if record.get("ClusterName", name) == name]


def _tracks_memory(settings: Mapping[str, str], node_records: Sequence[Mapping[str, str]]) -> bool:
    """Return whether Slurm gives memory to jobs; nodes of unknown memory have 1 MB."""
    parameters = settings.get("SelectTypeParameters")
    if parameters is not None and "MEMORY" not in parameters.upper():
        return False
    sizes = [read_number(record.get("RealMemory", "")) or 0 for record in node_records]
    return not sizes or max(sizes) > 1


def _cpus(record: Mapping[str, str]) -> int:
    """Return the CPUs of a node without those that are reserved for the system."""
    usable = read_number(record.get("CPUEfctv", ""))
    if usable:
        return usable
    # Slurm has CPUEfctv since 22.05; before that, the cores of CoreSpecCount are to be left out.
    threads = read_number(record.get("ThreadsPerCore", "")) or 1
    reserved = (read_number(record.get("CoreSpecCount", "")) or 0) * threads
    return max(1, (read_number(record.get("CPUTot", "")) or 1) - reserved)


def _memory_mb(record: Mapping[str, str]) -> float:
    memory_mb = read_number(record.get("RealMemory", "")) or 0
    if memory_mb <= 1:
        return math.inf
    return max(1, memory_mb - (read_number(record.get("MemSpecLimit", "")) or 0))


def _groups(records: Iterable[Mapping[str, str]]) -> dict[str, Counter[_Node]]:
    """Count the equal nodes of each partition."""
    groups: dict[str, Counter[_Node]] = {}
    for record in records:
        features = record.get("ActiveFeatures", "")
        node = (
            record.get("Gres", ""),
            _cpus(record),
            read_number(record.get("Sockets", "")) or 1,
            _memory_mb(record),
            frozenset() if features in NOTHING else frozenset(features.split(",")),
            not _UNUSABLE.search(record.get("State", "UNKNOWN")),
        )
        for partition in record.get("Partitions", "").split(","):
            groups.setdefault(partition, Counter())[node] += 1
    return groups


def _node_groups(
    record: Mapping[str, str], nodes: Counter[_Node], settings: Mapping[str, str]
) -> tuple[NodeGroup, ...]:
    """Return nodes as jobs of a partition may use them, the largest group first."""
    max_cpus = read_number(record.get("MaxCPUsPerNode", ""))
    max_cpus_per_socket = read_number(record.get("MaxCPUsPerSocket", ""))
    memory_limit = record if _limits_memory(record) else settings
    max_memory_mb = read_number(memory_limit.get("MaxMemPerNode", "")) or math.inf
    alike: dict[tuple[NodeShape, str | None, frozenset[str]], list[int]] = {}
    for (gres, cpus, sockets, memory_mb, features, is_usable), number in nodes.items():
        by_socket = sockets * max_cpus_per_socket if max_cpus_per_socket else cpus
        for gpu_type, gpus in (gpus_by_type(gres) or {None: 0}).items():
            shape = NodeShape(
                gpus=gpus,
                cpus=min(cpus, max_cpus or cpus, by_socket),
                memory_gb=min(memory_mb, max_memory_mb) / 1024,
            )
            numbers = alike.setdefault((shape, gpu_type, features), [0, 0])
            numbers[0] += number
            numbers[1] += 0 if is_usable else number
    groups = [
        NodeGroup(
            shape=shape,
            gpu_type=gpu_type,
            features=features,
            num_nodes=number,
            num_unusable=unusable,
        )
        for (shape, gpu_type, features), (number, unusable) in alike.items()
    ]
    return tuple(sorted(groups, key=lambda group: -group.num_nodes))


def _partition(
    record: Mapping[str, str], nodes: Counter[_Node], settings: Mapping[str, str]
) -> SlurmPartition:
    memory_limit = record if _limits_memory(record) else settings
    max_memory_mb_per_cpu = read_number(memory_limit.get("MaxMemPerCPU", ""))
    return SlurmPartition(
        name=record["PartitionName"],
        is_default=record.get("Default") == "YES",
        is_up=record.get("State", "UP") == "UP",
        is_hidden=record.get("Hidden") == "YES",
        max_time_s=read_seconds(record.get("MaxTime", "")),
        default_time_s=read_seconds(record.get("DefaultTime", "")),
        max_nodes=read_number(record.get("MaxNodes", "")),
        grace_s=read_number(record.get("GraceTime", "")) or 0,
        preempt_mode=record.get("PreemptMode", "OFF"),
        priority_tier=read_number(record.get("PriorityTier", "")) or 0,
        qos=_value(record.get("QoS", "")),
        groups=_node_groups(record, nodes, settings),
        access=read_access(record),
        memory_gb_per_cpu=max_memory_mb_per_cpu / 1024 if max_memory_mb_per_cpu else None,
    )


def _limits_memory(record: Mapping[str, str]) -> bool:
    """Return whether a partition has a limit of its own, which holds in place of the cluster's."""
    return any(read_number(record.get(name, "")) for name in ("MaxMemPerNode", "MaxMemPerCPU"))


def _value(text: str) -> str | None:
    return None if text in NOTHING else text

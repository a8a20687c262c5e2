"""Parse what Slurm's commands print about a cluster."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping

from launcher.packing.demand import NodeShape
from launcher.slurm.gres import gpus_by_type
from launcher.slurm.parsing import (
    NOTHING,
    read_number,
    read_records,
    read_seconds,
    read_settings,
    read_table,
)
from launcher.slurm.site import (
    NodeGroup,
    SlurmAssociation,
    SlurmPartition,
    SlurmQos,
    SlurmSite,
)

QOS_COLUMNS = (
    "Name",
    "GraceTime",
    "Preempt",
    "PreemptMode",
    "MaxWall",
    "MaxJobsPerUser",
    "MaxSubmitJobsPerUser",
)
"""Fields of `sacctmgr show qos`."""

ASSOCIATION_COLUMNS = (
    "Account",
    "Partition",
    "QOS",
    "DefaultQOS",
    "MaxWall",
    "MaxJobs",
    "MaxSubmitJobs",
)
"""Fields of `sacctmgr show assoc`."""

_UNUSABLE = re.compile(r"\*|\b(DOWN|DRAIN|ERROR|FAIL|FUTURE|INVAL|NOT_RESPONDING|UNKNOWN)")
"""In the state of a node that takes no jobs; a node that is powered down does, and is resumed."""

_Node = tuple[str, int, int, frozenset[str], bool]
"""GRES, CPUs, memory in MB, features, and whether it takes jobs now."""


def parse_site(
    *,
    config: str,
    partitions: str,
    nodes: str,
    qoses: str = "",
    associations: str = "",
    default_account: str = "",
) -> SlurmSite:
    """Parse a cluster.

    Args:
        config: Output of `scontrol show config`.
        partitions: Output of `scontrol show partition --all --oneliner`.
        nodes: Output of `scontrol show node --oneliner`.
        qoses: Output of `sacctmgr show qos` with `QOS_COLUMNS`; this and what follows are empty
            where there is no accounting.
        associations: Output of `sacctmgr show assoc` with `ASSOCIATION_COLUMNS`.
        default_account: Output of `sacctmgr show user` with DefaultAccount alone.
    """
    settings = read_settings(config)
    by_partition = _groups(read_records(nodes))
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
            _partition(record, by_partition.get(record["PartitionName"], Counter()))
            for record in read_records(partitions)
            if "PartitionName" in record
        ),
        qoses=tuple(map(_qos, read_table(qoses, QOS_COLUMNS))),
        associations=tuple(map(_association, read_table(associations, ASSOCIATION_COLUMNS))),
        default_account=_value(default_account.strip()),
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


def _groups(records: Iterable[Mapping[str, str]]) -> dict[str, Counter[_Node]]:
    """Count the equal nodes of each partition."""
    groups: dict[str, Counter[_Node]] = {}
    for record in records:
        # CPUEfctv, since Slurm 22.05, is without the CPUs that are reserved for the system.
        cpus = read_number(record.get("CPUEfctv", "")) or read_number(record.get("CPUTot", ""))
        memory_mb = read_number(record.get("RealMemory", "")) or 0
        reserved_mb = read_number(record.get("MemSpecLimit", "")) or 0
        features = record.get("ActiveFeatures", "")
        node = (
            record.get("Gres", ""),
            cpus or 1,
            max(1, memory_mb - reserved_mb),
            frozenset() if features in NOTHING else frozenset(features.split(",")),
            not _UNUSABLE.search(record.get("State", "UNKNOWN")),
        )
        for partition in record.get("Partitions", "").split(","):
            groups.setdefault(partition, Counter())[node] += 1
    return groups


def _partition(record: Mapping[str, str], nodes: Counter[_Node]) -> SlurmPartition:
    max_cpus = read_number(record.get("MaxCPUsPerNode", ""))
    max_memory_mb = read_number(record.get("MaxMemPerNode", ""))
    alike: dict[tuple[NodeShape, str | None, frozenset[str]], list[int]] = {}
    for (gres, cpus, memory_mb, features, is_usable), number in nodes.items():
        for gpu_type, gpus in (gpus_by_type(gres) or {None: 0}).items():
            shape = NodeShape(
                gpus=gpus,
                cpus=min(cpus, max_cpus or cpus),
                memory_gb=min(memory_mb, max_memory_mb or memory_mb) / 1024,
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
        groups=tuple(sorted(groups, key=lambda group: -group.num_nodes)),
    )


def _qos(row: Mapping[str, str]) -> SlurmQos:
    return SlurmQos(
        name=row["Name"],
        grace_s=read_seconds(row["GraceTime"]) or 0,
        preempts=tuple(filter(None, row["Preempt"].split(","))),
        preempt_mode=row["PreemptMode"],
        max_time_s=read_seconds(row["MaxWall"]),
        max_jobs=read_number(row["MaxJobsPerUser"]),
        max_submit_jobs=read_number(row["MaxSubmitJobsPerUser"]),
    )


def _association(row: Mapping[str, str]) -> SlurmAssociation:
    return SlurmAssociation(
        account=row["Account"],
        partition=_value(row["Partition"]),
        qos=tuple(filter(None, row["QOS"].split(","))),
        default_qos=_value(row["DefaultQOS"]),
        max_time_s=read_seconds(row["MaxWall"]),
        max_jobs=read_number(row["MaxJobs"]),
        max_submit_jobs=read_number(row["MaxSubmitJobs"]),
    )


def _value(text: str) -> str | None:
    return None if text in NOTHING else text

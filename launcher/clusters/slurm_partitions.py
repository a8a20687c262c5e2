"""Partitions as a job may use them: several, as of `--partition a,b`, and with a constraint."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import product
from typing import TypeVar

import attrs

from launcher.errors import LauncherError
from launcher.packing.demand import NodeShape
from launcher.slurm.site import NodeGroup, SlurmPartition

T = TypeVar("T", int, float)

_SIMPLE = re.compile(r"[\w.-]+((&[\w.-]+)*|(\|[\w.-]+)*)")


def joined(partitions: Sequence[SlurmPartition]) -> SlurmPartition:
    """Return the partitions as one: Slurm starts a job in any of them, so it has to fit in each."""
    if len(partitions) == 1:
        return partitions[0]
    preemptible = [each for each in partitions if each.preempt_mode != "OFF"] or partitions
    groups = _common_groups(partitions)
    most_nodes = [sum(group.num_nodes for group in each.groups) for each in partitions]
    return attrs.evolve(
        partitions[0],
        name=",".join(each.name for each in partitions),
        is_default=False,
        is_up=any(each.is_up for each in partitions),
        max_time_s=_least(each.max_time_s for each in partitions),
        default_time_s=_least(each.default_time_s for each in partitions),
        max_nodes=_least([*(each.max_nodes for each in partitions), min(most_nodes) or None]),
        grace_s=min(each.grace_s for each in preemptible),
        preempt_mode=preemptible[0].preempt_mode,
        priority_tier=min(each.priority_tier for each in partitions),
        qos=None,
        groups=groups,
        memory_gb_per_cpu=_least(each.memory_gb_per_cpu for each in partitions),
    )


def with_constraint(
    partition: SlurmPartition, constraint: str | None, config_source: str
) -> SlurmPartition:
    """Return the partition with those of its nodes that have the features.

    Raises:
        LauncherError: None has them.
    """
    groups = tuple(each for each in partition.groups if _has_features(each.features, constraint))
    if partition.groups and not groups:
        found = sorted({name for group in partition.groups for name in group.features})
        raise LauncherError(
            f"{config_source}: constraint: no node of partition {partition.name} has "
            f"{constraint!r}; available features: {', '.join(found) or 'none'}"
        )
    return attrs.evolve(partition, groups=groups)


def _has_features(features: frozenset[str], constraint: str | None) -> bool:
    """Return whether a node satisfies a constraint; only lists of & or of | are checked here."""
    if constraint is None or not _SIMPLE.fullmatch(constraint):
        return True
    if "|" in constraint:
        return not features.isdisjoint(constraint.split("|"))
    return features.issuperset(constraint.split("&"))


def _common_groups(partitions: Sequence[SlurmPartition]) -> tuple[NodeGroup, ...]:
    """Return nodes that a job may count on in each partition, with no more of them than in any.

    Each with GPUs of a type that all partitions have; of any type if there is none.
    """
    types = dict.fromkeys(group.gpu_type for each in partitions for group in each.groups)
    found: list[NodeGroup] = []
    for gpu_type in types:
        of_type = [[g for g in each.groups if g.gpu_type == gpu_type] for each in partitions]
        found += _common(of_type, gpu_type)
    if not any(group.shape.gpus for group in found):
        found = _common([each.groups for each in partitions], None)
    return tuple(sorted(found, key=lambda group: -group.num_nodes))


def _common(groups: Sequence[Sequence[NodeGroup]], gpu_type: str | None) -> list[NodeGroup]:
    shapes = {_smallest([group.shape for group in each]) for each in product(*groups)}
    found: list[NodeGroup] = []
    for shape in sorted(shapes, key=lambda each: (-each.gpus, -each.cpus, -each.memory_gb)):
        enough = [[group for group in each if group.shape.covers(shape)] for each in groups]
        larger = [group for group in found if group.shape.covers(shape)]
        usable = min(sum(group.num_usable for group in each) for each in enough)
        total = min(sum(group.num_nodes for group in each) for each in enough)
        usable -= sum(group.num_usable for group in larger)
        total -= sum(group.num_nodes for group in larger)
        if total > 0:
            found.append(
                NodeGroup(
                    shape=shape,
                    gpu_type=gpu_type,
                    features=frozenset().union(*(g.features for each in enough for g in each)),
                    num_nodes=total,
                    num_unusable=total - min(total, max(0, usable)),
                )
            )
    return found


def _smallest(shapes: Sequence[NodeShape]) -> NodeShape:
    return NodeShape(
        gpus=min(each.gpus for each in shapes),
        cpus=min(each.cpus for each in shapes),
        memory_gb=min(each.memory_gb for each in shapes),
    )


def _least(values: Iterable[T | None]) -> T | None:
    return min((value for value in values if value is not None), default=None)

"""Several partitions for one job, as `sbatch --partition a,b` takes them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import product
from typing import TypeVar

import attrs

from launcher.packing.demand import NodeShape
from launcher.slurm.site import NodeGroup, SlurmPartition

T = TypeVar("T", int, float)


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


def _common_groups(partitions: Sequence[SlurmPartition]) -> tuple[NodeGroup, ...]:
    """Return nodes that a job may count on in each partition, with no more of them than in any."""
    shapes = {
        _smallest([group.shape for group in groups])
        for groups in product(*(each.groups for each in partitions))
    }
    found: list[NodeGroup] = []
    for shape in sorted(shapes, key=lambda each: (-each.gpus, -each.cpus, -each.memory_gb)):
        alike = [
            [group for group in each.groups if group.shape.covers(shape)] for each in partitions
        ]
        larger = [group for group in found if group.shape.covers(shape)]
        usable = min(sum(group.num_usable for group in groups) for groups in alike)
        total = min(sum(group.num_nodes for group in groups) for groups in alike)
        usable -= sum(group.num_usable for group in larger)
        total -= sum(group.num_nodes for group in larger)
        if total > 0:
            found.append(
                NodeGroup(
                    shape=shape,
                    features=frozenset().union(*(g.features for groups in alike for g in groups)),
                    num_nodes=total,
                    num_unusable=total - max(0, usable),
                )
            )
    return tuple(sorted(found, key=lambda group: -group.num_nodes))


def _smallest(shapes: Sequence[NodeShape]) -> NodeShape:
    return NodeShape(
        gpus=min(each.gpus for each in shapes),
        cpus=min(each.cpus for each in shapes),
        memory_gb=min(each.memory_gb for each in shapes),
    )


def _least(values: Iterable[T | None]) -> T | None:
    return min((value for value in values if value is not None), default=None)

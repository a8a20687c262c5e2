"""Choose a partition, and the shape of its nodes that jobs are packed for."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import NamedTuple

import attrs
from attrs import frozen

from launcher.clusters.slurm_cluster_config import SlurmClusterConfig
from launcher.errors import DoesNotFitError, LauncherError, suggestions
from launcher.packing.demand import Demand, JobLimits, NodeShape
from launcher.slurm.gres import is_slice
from launcher.slurm.site import NodeGroup, SlurmPartition, SlurmSite

_SIZES = ("gpus_per_node", "cpus_per_node", "memory_gb_per_node")


@frozen(kw_only=True)
class ChosenNodes:
    """The node shape that jobs are packed for."""

    shape: NodeShape
    num_nodes: int | None
    """How many nodes have at least this shape; None if Slurm does not say."""
    num_usable: int | None
    """How many of these take jobs now."""
    sources: dict[str, str]
    """Where each value of the shape comes from, by its name in the config."""


def best_partition(
    site: SlurmSite,
    demands: Sequence[Demand],
    gpu_type: str | None,
    *,
    remedies: Callable[[SlurmPartition], str],
) -> tuple[SlurmPartition, str]:
    """Choose a partition if none is given, and say why: the default one, unless it lacks GPUs.

    Args:
        gpu_type: The only type that will do.
        remedies: Returns the options with which a partition is open to the user, or nothing.

    Raises:
        DoesNotFitError: No open partition has GPUs, and the runs need some.
        LauncherError: No partition is the default, and nothing else decides.
    """
    default = next((each for each in site.partitions if each.is_default), None)
    needs_gpus = any(demand.gpus for demand in demands)
    lacks = "" if default is None else _lack(default, gpu_type, needs_gpus=needs_gpus)
    if default and not lacks:
        return default, f"Slurm: default partition {default.name}"
    if default is None and not needs_gpus:
        names = [each.name for each in site.open_partitions]
        raise LauncherError(
            f"Slurm has no default partition; add --partition; {suggestions('', names)}"
        )
    if default is not None and not needs_gpus:
        others = _open_to_user(site, lambda each: bool(each.groups))
        if not others:
            raise LauncherError(
                f"the default partition {default.name} {lacks}, and no other one is open to you; "
                "add another --account or --qos"
            )
        best = max(others, key=lambda each: rank_of(each.groups, demands))
        return best, f"Slurm: partition {best.name}; the default, {default.name}, {lacks}"
    with_gpus = _open_to_user(site, lambda each: _has_gpus(each, gpu_type))
    kind = f"GPUs of type {gpu_type}" if gpu_type else "GPUs"
    if not with_gpus:
        largest = max(demands, key=lambda demand: demand.gpus)
        closed = [
            f"{each.name} {each.closed_because}"
            + (f" (add {options})" if (options := remedies(each)) else "")
            for each in site.partitions
            if each.is_up
            and not each.is_hidden
            and each.closed_because
            and _has_gpus(each, gpu_type)
        ]
        why = f"no partition of this cluster has nodes with {kind}"
        if closed:
            why = f"the partitions with {kind} are closed to you: {'; '.join(closed)}"
        raise DoesNotFitError(
            f"{largest.name} does not fit because resources.gpus is {largest.gpus:g} and {why}; "
            "resources.gpus=0 would fit"
        )
    best = max(with_gpus, key=lambda each: rank_of(each.groups, demands))
    if best is default:
        return best, f"Slurm: default partition {best.name}"
    why = f"the default, {default.name}, {lacks}" if default else "there is no default"
    return best, f"Slurm: partition {best.name} has {kind}; {why}"


def _open_to_user(site: SlurmSite, suits: Callable[[SlurmPartition], bool]) -> list[SlurmPartition]:
    """Return the suitable partitions that are open; if none is, those that may be."""
    doubtful = [each for each in site.partitions if each.may_be_open and each.is_up]
    return [each for each in site.open_partitions if suits(each)] or [
        each for each in doubtful if suits(each) and not each.is_hidden
    ]


def _lack(partition: SlurmPartition, gpu_type: str | None, *, needs_gpus: bool) -> str:
    """Return what speaks against a partition; empty if nothing does."""
    if partition.closed_because:
        return partition.closed_because
    if needs_gpus and not _has_gpus(partition, gpu_type):
        return "has none"
    with_gpus = [group for group in partition.groups if group.shape.gpus or not needs_gpus]
    if with_gpus and not any(group.num_usable for group in with_gpus):
        return "has none that take jobs now"
    return ""


def choose_nodes(
    config: SlurmClusterConfig,
    partition: SlurmPartition,
    demands: Sequence[Demand],
    *,
    config_source: str = "cluster config",
    limits: Sequence[JobLimits] = (),
) -> ChosenNodes:
    """Choose the most common nodes of those that most runs fit on, limited by the config.

    Args:
        partition: With the nodes that have the features of the config, cut to the limits.
        limits: What jobs may use of a node; errors name who sets it.

    Raises:
        LauncherError: No node has what the config asks for.
    """
    numbers = _numbers_by_shape(partition.groups)
    candidates = [
        (_limited(config, shape, number, partition.name, config_source), number)
        for shape, number in numbers.items()
        if _has_sizes(shape, config)
    ]
    if not candidates:
        _check_sizes(config, numbers, partition.name, config_source, limits)
        return _described(config, partition.name, config_source)
    best, _ = max(candidates, key=lambda each: _rank(each[0].shape, each[1], demands))
    enough = [number for shape, number in numbers.items() if shape.covers(best.shape)]
    return attrs.evolve(
        best,
        num_nodes=sum(number.all for number in enough),
        num_usable=sum(number.usable for number in enough),
    )


class _Number(NamedTuple):
    """How many nodes there are; those that take no jobs now count only if nothing else decides."""

    usable: int
    all: int


def rank_of(groups: Iterable[NodeGroup], demands: Sequence[Demand]) -> tuple[int, ...]:
    """Return the sort key of a choice of nodes, that of the best of them; the best highest.

    By fitting runs, then whole GPUs before slices of GPUs, then as nodes of one type are chosen.
    """
    by_type: dict[str | None, list[NodeGroup]] = {}
    for group in groups:
        by_type.setdefault(group.gpu_type, []).append(group)
    ranks = []
    for gpu_type, alike in by_type.items():
        for shape, number in _numbers_by_shape(alike).items():
            fitting, *others = _rank(shape, number, demands)
            ranks.append((fitting, not is_slice(gpu_type), *others))
    return max(ranks)


def groups_for(config: SlurmClusterConfig, partition: SlurmPartition) -> list[NodeGroup]:
    """Return the nodes of a partition that have the sizes of the config.

    All if none is so large: `choose_nodes` tells what is too much.
    """
    return [g for g in partition.groups if _has_sizes(g.shape, config)] or [*partition.groups]


def _has_gpus(partition: SlurmPartition, gpu_type: str | None) -> bool:
    if gpu_type is None:
        return bool(partition.gpu_types)
    return gpu_type.lower() in (name.lower() for name in partition.gpu_types if name)


def _has_sizes(shape: NodeShape, config: SlurmClusterConfig) -> bool:
    return (
        shape.gpus >= (config.gpus_per_node or 0)
        and shape.cpus >= (config.cpus_per_node or 0)
        and shape.memory_gb >= (config.memory_gb_per_node or 0)
    )


def _numbers_by_shape(groups: Iterable[NodeGroup]) -> dict[NodeShape, _Number]:
    numbers: dict[NodeShape, _Number] = {}
    for group in groups:
        usable, total = numbers.get(group.shape, (0, 0))
        numbers[group.shape] = _Number(usable + group.num_usable, total + group.num_nodes)
    return numbers


def _check_sizes(
    config: SlurmClusterConfig,
    shapes: Collection[NodeShape],
    partition: str,
    config_source: str,
    limits: Sequence[JobLimits],
) -> None:
    """Refuse sizes that no node has, if Slurm lists nodes."""
    if not shapes:
        return
    for name in _SIZES:
        asked = getattr(config, name)
        size = name.removesuffix("_per_node")
        most = max(getattr(shape, size) for shape in shapes)
        if asked is not None and asked > most:
            whose = [each.sources.get(size) for each in limits if getattr(each, size) == most]
            why = f"the limit of {whose[0]}" if whose else f"as nodes of partition {partition} have"
            if name == "gpus_per_node" and not (most or whose):
                why += "; where Slurm does not know of its GPUs, set gpu_request: none"
            raise LauncherError(
                f"{config_source}: {name}: found {asked:g}; must be at most {most:g}, {why}"
            )
    raise LauncherError(
        f"{config_source}: no node of partition {partition} has all of {', '.join(_SIZES)} at "
        "once; ask for less of one"
    )


def _limited(
    config: SlurmClusterConfig,
    shape: NodeShape,
    number: _Number,
    partition: str,
    config_source: str,
) -> ChosenNodes:
    """Apply the config to a shape: a part of the GPUs gets the same part of CPUs and memory."""
    source = f"Slurm: nodes of partition {partition}"
    gpus, cpus, memory_gb = shape.gpus, shape.cpus, shape.memory_gb
    sources = dict.fromkeys(_SIZES, source)
    if config.gpus_per_node is not None:
        gpus, sources["gpus_per_node"] = config.gpus_per_node, config_source
        if 0 < gpus < shape.gpus:
            cpus, memory_gb = max(1, cpus * gpus // shape.gpus), memory_gb * gpus / shape.gpus
            sources["cpus_per_node"] = sources["memory_gb_per_node"] = (
                f"{source}, {gpus} of {shape.gpus} GPUs"
            )
    if config.cpus_per_node is not None:
        cpus, sources["cpus_per_node"] = config.cpus_per_node, config_source
    if config.memory_gb_per_node is not None:
        memory_gb, sources["memory_gb_per_node"] = config.memory_gb_per_node, config_source
    return ChosenNodes(
        shape=NodeShape(gpus=gpus, cpus=cpus, memory_gb=memory_gb),
        num_nodes=number.all,
        num_usable=number.usable,
        sources=sources,
    )


def _described(config: SlurmClusterConfig, partition: str, config_source: str) -> ChosenNodes:
    """Return nodes that Slurm does not list, such as cloud nodes that are started on demand."""
    gpus, cpus, memory_gb = (
        config.gpus_per_node,
        config.cpus_per_node,
        config.memory_gb_per_node,
    )
    if gpus is None or cpus is None or memory_gb is None:
        raise LauncherError(
            f"Slurm lists no nodes of partition {partition}; choose another partition, or set "
            f"gpus_per_node, cpus_per_node and memory_gb_per_node in {config_source}"
        )
    return ChosenNodes(
        shape=NodeShape(gpus=gpus, cpus=cpus, memory_gb=memory_gb),
        num_nodes=None,
        num_usable=None,
        sources=dict.fromkeys(_SIZES, config_source),
    )


def _rank(shape: NodeShape, number: _Number, demands: Sequence[Demand]) -> tuple[int, ...]:
    """Return the sort key of nodes, the best highest: by fitting runs, number, and few GPUs.

    If some run fits nowhere, the largest nodes are best: the error then names the most that fits.
    """
    fitting = sum(_fits(demand, shape) for demand in demands)
    if fitting < len(demands):
        return fitting, shape.gpus, *number
    return fitting, *number, -shape.gpus


def _fits(demand: Demand, shape: NodeShape) -> bool:
    return (
        demand.gpus <= shape.gpus
        and demand.cpus <= shape.cpus
        and demand.memory_gb <= shape.memory_gb
    )

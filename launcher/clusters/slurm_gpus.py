"""Choose the GPUs that jobs ask for: of which type, and by which option."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import attrs
from attrs import frozen

from launcher.clusters.slurm_choices import Choices
from launcher.clusters.slurm_cluster_config import SlurmClusterConfig, check_gpu_type
from launcher.clusters.slurm_nodes import groups_for, rank_of
from launcher.errors import DoesNotFitError, LauncherError, suggestions
from launcher.packing.demand import Demand
from launcher.slurm.site import NodeGroup, SlurmPartition, SlurmSite
from launcher.tables import first_names


@frozen(kw_only=True)
class WantedGpus:
    """A type of GPUs that was asked for, or that the runs began on."""

    gpu_type: str | None
    """None: any will do."""
    is_told: bool
    """Whether it was asked for."""
    is_known: bool
    """Whether Slurm lists such GPUs."""


@frozen(kw_only=True)
class ChosenGpus:
    """The GPUs of all jobs of a submission."""

    gpu_type: str | None
    """None: without a type, or not known."""
    is_asked_for: bool
    """Whether a job asks for the type: Slurm may otherwise give it another one."""
    partition: SlurmPartition
    """The partition with those of its nodes that have these GPUs, or none."""


def choose_gpu_request(
    choose: Choices, config: SlurmClusterConfig, site: SlurmSite, demands: Sequence[Demand]
) -> str:
    """Choose the option that asks for GPUs; `none` where Slurm has none to ask for.

    Raises:
        DoesNotFitError: Neither Slurm nor the config knows of any, and the runs need some.
    """
    largest = max(demands, key=lambda demand: demand.gpus, default=None)
    if largest and largest.gpus and not site.knows_gpus and not config.gpus_per_node:
        raise DoesNotFitError(
            f"{largest.name} does not fit because resources.gpus is {largest.gpus:g} and Slurm "
            "knows of no GPUs on this cluster; resources.gpus=0 would fit, or set gpus_per_node in "
            "the cluster config if its nodes have some all the same"
        )
    otherwise, source = "gpus-per-node", "default"
    if not site.takes_gpu_options:
        otherwise, source = "gres", "Slurm: SelectType"
    if config.gpus_per_node and not site.knows_gpus:
        otherwise, source = "none", "Slurm: no node has GPUs to ask for"
    request: str = choose("gpu_request", None, otherwise, source)
    return request


def with_stated_gpus(site: SlurmSite, gpus_per_node: int) -> SlurmSite:
    """Return the site with as many GPUs in each node as the config says: Slurm does not know."""

    def stated(group: NodeGroup) -> NodeGroup:
        shape = attrs.evolve(group.shape, gpus=gpus_per_node)
        return attrs.evolve(group, shape=shape, gpu_type=None)

    return attrs.evolve(
        site,
        partitions=tuple(
            attrs.evolve(partition, groups=tuple(map(stated, partition.groups)))
            for partition in site.partitions
        ),
    )


def choose_gpu_type(
    choose: Choices, given: str | None, kept: Mapping[str, str], site: SlurmSite
) -> WantedGpus:
    """Choose the type that was asked for, else the one that the runs began on.

    Args:
        given: From the command line.
        kept: The types that runs began on, by the names of the runs.

    Raises:
        LauncherError: Runs began on several types, and none was asked for.
    """
    told: str | None = choose("gpu_type", given, None, "")
    if told is not None:
        try:
            check_gpu_type(told)
        except ValueError as error:
            raise choose.error("gpu_type", str(error)) from error
        return WantedGpus(gpu_type=told, is_told=True, is_known=_has(told, site.partitions))
    types = sorted(set(kept.values()))
    if len(types) > 1:
        runs = [
            f"{name}: {first_names([run for run in kept if kept[run] == name], 1)}"
            for name in types
        ]
        raise LauncherError(
            f"gpu_type: these runs began on several ({'; '.join(runs)}), and other GPUs give other "
            "bits; go on with those of one type at a time (`launch resubmit RUN`), or choose one "
            "for all with --gpu-type"
        )
    if not types:
        return WantedGpus(gpu_type=None, is_told=False, is_known=False)
    choose.sources["gpu_type"] = "the runs began on it"
    return WantedGpus(gpu_type=types[0], is_told=False, is_known=_has(types[0], site.partitions))


def choose_gpus(
    choose: Choices,
    config: SlurmClusterConfig,
    site: SlurmSite,
    partition: SlurmPartition,
    queues: Sequence[SlurmPartition],
    demands: Sequence[Demand],
    wanted: WantedGpus,
) -> ChosenGpus:
    """Choose one type of GPUs for all jobs; whole GPUs rather than slices, then the commonest.

    Args:
        partition: Where jobs are submitted, with the nodes that Slurm may give them.
        queues: The partitions that this one stands for.
        demands: Empty if the runs are not known.

    Raises:
        LauncherError: The partition has no GPUs of the type that is wanted, or its parts have none
            in common.
    """
    by_type: dict[str | None, list[NodeGroup]] = {}
    for group in groups_for(config, partition):
        if group.shape.gpus:
            by_type.setdefault(group.gpu_type, []).append(group)
    is_needed = not demands or any(demand.gpus for demand in demands)
    # Slurm does not hear of the sizes in the config: without a type it may give any of these.
    kinds = {kind for each in queues for kind in each.gpu_types}
    if is_needed and len(queues) > 1 and set(by_type) == {None} and kinds != {None}:
        raise choose.error("partition", _no_common_type(queues))
    gpu_type = wanted.gpu_type if is_needed else None
    if gpu_type is not None and partition.groups:
        gpu_type = _as_listed(choose, wanted, list(by_type), site, partition)
    if gpu_type is None:
        choose.sources["gpu_type"] = f"Slurm: nodes of partition {partition.name}"
    if not is_needed or not by_type:
        is_asked_for = gpu_type is not None
        return ChosenGpus(gpu_type=gpu_type, is_asked_for=is_asked_for, partition=partition)
    if gpu_type is None:
        # Without a type, Slurm may give GPUs of any: only where none has a type is that one kind.
        typed = {name: alike for name, alike in by_type.items() if name is not None} or by_type
        gpu_type = max(typed, key=lambda name: rank_of(typed[name], demands))
    groups = [
        group for group in partition.groups if not group.shape.gpus or group.gpu_type == gpu_type
    ]
    return ChosenGpus(
        gpu_type=gpu_type,
        is_asked_for=gpu_type is not None and (wanted.is_told or len(kinds) > 1),
        partition=attrs.evolve(partition, groups=tuple(groups)),
    )


def _as_listed(
    choose: Choices,
    wanted: WantedGpus,
    types: Sequence[str | None],
    site: SlurmSite,
    partition: SlurmPartition,
) -> str | None:
    """Return the type as Slurm writes it; None if the GPUs have no types, and nobody asked for one.

    Raises:
        LauncherError: The partition has none of this type.
    """
    assert wanted.gpu_type is not None
    names = [name for name in types if name is not None]
    for name in names:
        if name.lower() == wanted.gpu_type.lower():
            return name
    if not names and not wanted.is_told:
        return None
    others = [each.name for each in site.open_partitions if _has(wanted.gpu_type, [each])]
    elsewhere = f"; partitions with it: {', '.join(others)}" if others else ""
    if not wanted.is_told:
        raise LauncherError(
            f"gpu_type: these runs began on {wanted.gpu_type}, and partition {partition.name} has "
            f"{', '.join(names)}; other GPUs give other bits. Take another --partition, or "
            f"--gpu-type {names[0]} to resume there all the same{elsewhere}"
        )
    known = "Slurm lists its GPUs without types; leave it out, or choose nodes by constraint"
    if names:
        known = suggestions(wanted.gpu_type, names)
    raise choose.error(
        "gpu_type", f"found {wanted.gpu_type!r}; partition {partition.name}: {known}{elsewhere}"
    )


def _no_common_type(queues: Sequence[SlurmPartition]) -> str:
    types = [
        f"{each.name} has {', '.join(name or 'GPUs without a type' for name in each.gpu_types)}"
        for each in queues
    ]
    return (
        f"found {','.join(each.name for each in queues)!r}, which have no type of GPUs in common "
        f"({'; '.join(types)}), and other GPUs give other bits; choose one of them"
    )


def _has(gpu_type: str, partitions: Iterable[SlurmPartition]) -> bool:
    names = {name.lower() for each in partitions for name in each.gpu_types if name}
    return gpu_type.lower() in names

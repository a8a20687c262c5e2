"""Place runs in jobs, and on the nodes and GPUs of these: a few nodes, and none overfull.

Runs of unequal demand for GPUs, CPUs and memory are a vector bin packing problem: heuristics fill
the nodes (`fill`, `search`), and a lower bound (`bound`) says how far from the optimum they can be.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import ceil, isinf

from attrs import frozen

from launcher.errors import DoesNotFitError
from launcher.packing.bound import lower_bound
from launcher.packing.demand import (
    GB,
    Demand,
    JobLimits,
    NodeShape,
    PackLimits,
    Size,
    size_of,
    size_of_node,
)
from launcher.packing.infeasible import infeasible_reasons
from launcher.packing.jobs import Job, fewer_jobs, merge_groups, take_turns
from launcher.packing.search import best_groups

__all__ = [
    "Demand",
    "JobLimits",
    "NodeShape",
    "PackLimits",
    "Packing",
    "Placed",
    "PlannedPack",
    "infeasible_reasons",
    "pack",
]


@frozen(kw_only=True)
class Placed:
    """A run in a pack."""

    demand: Demand
    nodes: tuple[int, ...]
    """Numbers of its nodes in the pack."""
    gpus: tuple[tuple[int, ...], ...]
    """Numbers of its GPUs on each of its nodes; for a share, the GPU that it shares."""
    begin_s: int
    """When it starts, from the start of the job; above 0, it waits for other runs to end."""


@frozen(kw_only=True)
class PlannedPack:
    """A job: its members, and the resources that it asks for, their peak over its whole time."""

    members: tuple[Placed, ...]
    """In the order of their starts."""
    num_nodes: int
    gpus_per_node: int
    cpus_per_node: int
    memory_gb_per_node: float
    time_s: int

    @property
    def time_min(self) -> int:
        """Its time in minutes, as Slurm counts, rounded up."""
        return ceil(self.time_s / 60)


@frozen(kw_only=True)
class Packing:
    """Jobs for all the runs."""

    packs: tuple[PlannedPack, ...]
    num_nodes: int
    """Of all packs."""
    lower_bound: int
    """Nodes below which no packing of all runs side by side exists."""
    idle_gpus: float
    """Fraction of the nodes' GPUs that are idle at the start of the jobs."""
    idle_cpus: float
    idle_memory: float
    """0 where the nodes do not say how much they have."""
    num_side_by_side: int
    """Jobs before some were merged because of the most that there may be."""


def pack(demands: Sequence[Demand], limits: PackLimits) -> Packing:
    """Place all runs; deterministic: equal arguments give equal packings.

    A share of a GPU is of one GPU, whole GPUs are for one run alone, and a run over several nodes
    takes the same on each. Of the packings that are tried, the one with the fewest nodes is taken,
    and of these the one with the least node time, as a node is held until its last run ends.

    Raises:
        DoesNotFitError: Some runs fit into no job, or the jobs would be too many.
    """
    if reasons := infeasible_reasons(demands, limits):
        raise DoesNotFitError("\n".join(reasons))
    if not demands:
        return _packing((), limits.shape, 0, 0)
    sizes: dict[tuple[int, float, int, float], Size] = {}
    runs: dict[Size, list[int]] = {}
    for index, demand in enumerate(demands):
        key = (demand.nodes, demand.gpus, demand.cpus, demand.memory_gb)
        if key not in sizes:
            sizes[key] = size_of(demand)
        runs.setdefault(sizes[key], []).append(index)
    times_s = [demand.time_s for demand in demands]
    jobs: list[Job] = []
    least_nodes = 0
    for part, part_limits in _parts(runs, limits):
        node = size_of_node(part_limits.shape)
        bound = lower_bound({size: len(of_size) for size, of_size in part.items()}, node)
        jobs += merge_groups(best_groups(part, times_s, part_limits, node, bound), part_limits)
        least_nodes += bound
    jobs = list(take_turns(jobs, limits))
    merged = fewer_jobs(jobs, limits)
    packs = [_planned(job, demands, limits) for job in merged]
    return _packing(_alike_together(packs), limits.shape, least_nodes, len(jobs))


def _parts(
    runs: Mapping[Size, Sequence[int]], limits: PackLimits
) -> Iterator[tuple[Mapping[Size, Sequence[int]], PackLimits]]:
    """Yield the runs that may share jobs, with the limits of these.

    All of them, unless a job of more nodes may have less on each: then those of one width.
    """
    if not limits.job.depend_on_nodes:
        yield runs, limits.for_width(1)
        return
    for width in sorted({size.nodes for size in runs}):
        part = {size: of_size for size, of_size in runs.items() if size.nodes == width}
        yield part, limits.for_width(width)


def _planned(job: Job, demands: Sequence[Demand], limits: PackLimits) -> PlannedPack:
    members = tuple(
        Placed(demand=demands[run.index], nodes=run.nodes, gpus=run.gpus, begin_s=run.begin_s)
        for run in job.runs
    )
    asked = job.peak()
    time_s = job.time_s
    if limits.time_limit_s is not None:
        time_s = min(time_s, limits.time_limit_s)
    shape, least = limits.shape, limits.job.least

    def at_least(name: str, needed: float) -> float:
        """Return what each node is asked for, so that the job has the least that it may have."""
        present: float = getattr(shape, name)
        return max(needed, min(present, least.get(name, 0) / job.num_nodes))

    memory_gb = at_least("memory_gb", asked.memory / GB)
    cpus = ceil(at_least("cpus", asked.cpus))
    if (per_cpu := limits.job.memory_gb_per_cpu) is not None:
        cpus = max(cpus, min(shape.cpus, ceil(memory_gb / per_cpu)))
    return PlannedPack(
        members=members,
        num_nodes=job.num_nodes,
        gpus_per_node=ceil(at_least("gpus", asked.whole)),
        cpus_per_node=cpus,
        memory_gb_per_node=memory_gb,
        time_s=time_s,
    )


def _alike_together(packs: Sequence[PlannedPack]) -> tuple[PlannedPack, ...]:
    """Sort packs with equal resources next to each other: they become one job array."""
    groups: dict[tuple[float, ...], list[PlannedPack]] = {}
    for pack in packs:
        asked = (
            pack.num_nodes,
            pack.gpus_per_node,
            pack.cpus_per_node,
            pack.memory_gb_per_node,
            pack.time_s,
        )
        groups.setdefault(asked, []).append(pack)
    return tuple(pack for group in groups.values() for pack in group)


def _packing(
    packs: tuple[PlannedPack, ...], shape: NodeShape, bound: int, num_side_by_side: int
) -> Packing:
    num_nodes = sum(pack.num_nodes for pack in packs)
    gpus = cpus = memory_gb = 0.0
    for pack in packs:
        for member in pack.members:
            if member.begin_s == 0:
                demand = member.demand
                gpus += demand.nodes * demand.gpus
                cpus += demand.nodes * demand.cpus
                memory_gb += demand.nodes * demand.memory_gb
    return Packing(
        packs=packs,
        num_nodes=num_nodes,
        lower_bound=bound,
        idle_gpus=_idle(gpus, num_nodes * shape.gpus),
        idle_cpus=_idle(cpus, num_nodes * shape.cpus),
        idle_memory=_idle(memory_gb, num_nodes * shape.memory_gb),
        num_side_by_side=num_side_by_side,
    )


def _idle(used: float, present: float) -> float:
    return max(0.0, 1 - used / present) if present and not isinf(present) else 0.0

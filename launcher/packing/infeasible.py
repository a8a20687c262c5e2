"""Why runs fit into no job, and which values would fit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from attrs import frozen

from launcher.packing.demand import Demand, PackLimits, size_of, size_of_node
from launcher.tables import first_names


@frozen
class _Excess:
    """One key of a run that asks for too much."""

    key: str
    asked: float
    place: str
    """Such as `a node has`."""
    present: float
    would_fit: float

    def __str__(self) -> str:
        return f"{self.key} is {self.asked:g} and {self.place} {self.present:g}"


def infeasible_reasons(
    demands: Sequence[Demand],
    limits: PackLimits,
    *,
    where: str = "a node",
    elsewhere: Mapping[str, PackLimits] | None = None,
) -> list[str]:
    """Return why runs fit into no job: a sentence for all runs that ask for too much of the same.

    Args:
        where: How messages call a node, such as `a node of partition gpu`.
        elsewhere: Other partitions by name.
    """
    names: dict[tuple[_Excess, ...], list[str]] = {}
    examples: dict[tuple[_Excess, ...], Demand] = {}
    known: dict[tuple[int, float, int, float], tuple[_Excess, ...]] = {}
    for demand in demands:
        asked = (demand.nodes, demand.gpus, demand.cpus, demand.memory_gb)
        if asked not in known:
            known[asked] = tuple(_excesses(demand, limits, where))
        if excesses := known[asked]:
            names.setdefault(excesses, []).append(demand.name)
            examples.setdefault(excesses, demand)
    return [
        _sentence(names[excesses], excesses, _partition(example, elsewhere or {}))
        for excesses, example in examples.items()
    ]


def _excesses(demand: Demand, limits: PackLimits, where: str) -> Iterator[_Excess]:
    shape = limits.for_width(demand.nodes).shape
    asked, present = size_of(demand), size_of_node(shape)
    sources = limits.job.sources

    def place(name: str) -> str:
        """Return what gives a node so little: the limit of a job, or the node itself."""
        limit = getattr(limits.job, name)
        if name not in sources or limit > getattr(limits.shape, name) * demand.nodes:
            return f"{where} has"
        whom = "a job" if demand.nodes == 1 else f"each of {demand.nodes} nodes"
        return f"{sources[name]} gives {whom} at most"

    if limits.max_nodes is not None and asked.nodes > limits.max_nodes:
        most = limits.max_nodes
        is_limit = "nodes" in sources and limits.job.nodes == most
        who = f"{sources['nodes']} gives a job at most" if is_limit else "a job at most has"
        yield _Excess("resources.nodes", asked.nodes, who, most, most)
    if asked.gpu_units > present.gpu_units:
        yield _Excess("resources.gpus", demand.gpus, place("gpus"), shape.gpus, shape.gpus)
    if asked.cpus > present.cpus:
        yield _Excess("resources.cpus", demand.cpus, place("cpus"), shape.cpus, shape.cpus)
    if asked.memory > present.memory:
        gb = shape.memory_gb
        yield _Excess("resources.memory_gb", demand.memory_gb, place("memory_gb"), gb, gb)


def _partition(demand: Demand, elsewhere: Mapping[str, PackLimits]) -> str:
    """Return advice about the smallest partition that a run fits into; empty if there is none."""
    partitions = [
        (limits.shape.gpus, limits.shape.memory_gb, limits.shape.cpus, name)
        for name, limits in elsewhere.items()
        if not any(_excesses(demand, limits, name))
    ]
    if not partitions:
        return ""
    gpus, memory_gb, cpus, name = min(partitions)
    return f"partition {name} ({gpus} GPUs, {cpus} CPUs and {memory_gb:g} GB a node) would fit"


def _sentence(names: Sequence[str], excesses: Sequence[_Excess], partition: str) -> str:
    verb = "does" if len(names) == 1 else "do"
    because = ", and ".join(map(str, excesses))
    values = " ".join(f"{excess.key}={excess.would_fit:g}" for excess in excesses)
    remedy = f"{values} would fit" + (f"; {partition}" if partition else "")
    return f"{first_names(names, 1)} {verb} not fit because {because}; {remedy}"

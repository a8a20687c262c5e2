"""Why runs fit into no job, and what would do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from attrs import frozen

from launcher.packing.demand import Demand, PackLimits, size_of, size_of_node


@frozen
class _Reason:
    """One key of a run that asks for too much."""

    key: str
    asked: float
    place: str
    present: float
    would_fit: float

    def __str__(self) -> str:
        return f"{self.key} is {self.asked:g} and {self.place} has {self.present:g}"


def infeasible(
    demands: Sequence[Demand],
    limits: PackLimits,
    *,
    where: str = "a node",
    elsewhere: Mapping[str, PackLimits] | None = None,
) -> list[str]:
    """A sentence for each set of reasons, over all the runs that they keep out.

    Args:
        where: What a node is called, such as `a node of partition gpu`.
        elsewhere: Other partitions by name.
    """
    names: dict[tuple[_Reason, ...], list[str]] = {}
    examples: dict[tuple[_Reason, ...], Demand] = {}
    known: dict[tuple[int, float, int, float], tuple[_Reason, ...]] = {}
    for demand in demands:
        asked = (demand.nodes, demand.gpus, demand.cpus, demand.memory_gb)
        if asked not in known:
            known[asked] = tuple(_reasons(demand, limits, where))
        if reasons := known[asked]:
            names.setdefault(reasons, []).append(demand.name)
            examples.setdefault(reasons, demand)
    return [
        _sentence(names[reasons], reasons, _partition(example, elsewhere or {}))
        for reasons, example in examples.items()
    ]


def _reasons(demand: Demand, limits: PackLimits, where: str) -> Iterator[_Reason]:
    shape = limits.shape
    asked, present = size_of(demand), size_of_node(shape)
    if limits.max_nodes is not None and asked.nodes > limits.max_nodes:
        most = limits.max_nodes
        yield _Reason("resources.nodes", asked.nodes, "a job at most", most, most)
    if asked.gpu_units > present.gpu_units:
        yield _Reason("resources.gpus", demand.gpus, where, shape.gpus, shape.gpus)
    if asked.cpus > present.cpus:
        yield _Reason("resources.cpus", demand.cpus, where, shape.cpus, shape.cpus)
    if asked.memory > present.memory:
        gb = shape.memory_gb
        yield _Reason("resources.memory_gb", demand.memory_gb, where, gb, gb)


def _partition(demand: Demand, elsewhere: Mapping[str, PackLimits]) -> str:
    """The partition that has least too much for a run; empty if none has enough."""
    partitions = [
        (limits.shape.gpus, limits.shape.memory_gb, limits.shape.cpus, name)
        for name, limits in elsewhere.items()
        if not any(_reasons(demand, limits, name))
    ]
    if not partitions:
        return ""
    gpus, memory_gb, cpus, name = min(partitions)
    return f"partition {name} ({gpus} GPUs, {cpus} CPUs and {memory_gb:g} GB a node) would do"


def _sentence(names: Sequence[str], reasons: Sequence[_Reason], partition: str) -> str:
    who = names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"
    verb = "does" if len(names) == 1 else "do"
    because = ", and ".join(map(str, reasons))
    values = " ".join(f"{reason.key}={reason.would_fit:g}" for reason in reasons)
    remedy = f"{values} would fit" + (f"; {partition}" if partition else "")
    return f"{who} {verb} not fit because {because}; {remedy}"

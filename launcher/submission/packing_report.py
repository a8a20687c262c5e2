"""The placement of runs in jobs, as text and as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Any

from launcher.clusters.slurm_target import SlurmTarget
from launcher.packing.packing import Packing, Placed, PlannedPack
from launcher.tables import show_memory, show_seconds, table

MAX_ROWS = 20
"""Rows of the table: jobs, or groups of alike jobs."""


def packing_lines(packing: Packing, target: SlurmTarget) -> list[str]:
    """Return the placement, what it leaves idle, and the lower bound of nodes, as lines of text."""
    groups = [list(group) for _, group in groupby(packing.packs, key=_look)]
    rows = [_row(group) for group in groups[:MAX_ROWS]]
    lines = [table(("JOBS", "NODES", "GPUS", "CPUS", "MEMORY", "TIME", "RUNS"), rows)]
    if len(groups) > MAX_ROWS:
        left = sum(map(len, groups[MAX_ROWS:]))
        lines.append(f"… and {left} more jobs; --json lists all")
    shape = target.shape
    gpus = f"{shape.gpus} GPUs" + (f" ({target.gpu_type})" if target.gpu_type else "")
    lines.append(
        f"{_counted(len(packing.packs), 'job')} in partition {target.partition} on "
        f"{_counted(packing.num_nodes, 'node')} of {gpus}, {shape.cpus} CPUs, "
        f"{show_memory(shape.memory_gb)}; side by side, the runs need at least "
        f"{packing.lower_bound}"
    )
    lines.append(
        f"left idle: {packing.idle_gpus:.0%} of their GPUs, {packing.idle_cpus:.0%} of the CPUs, "
        f"{packing.idle_memory:.0%} of the memory"
    )
    return lines


def waiting_notice(packing: Packing, target: SlurmTarget) -> str | None:
    """Return that runs wait for each other, as there may not be a job for all; None if not."""
    num_jobs = len(packing.packs)
    if packing.num_side_by_side <= num_jobs:
        return None
    longest_s = max(pack.time_s for pack in packing.packs)
    return (
        f"runs wait for each other in their jobs, which take up to {show_seconds(longest_s)}: "
        f"side by side they make {packing.num_side_by_side} jobs, and {num_jobs} more may be in "
        f"the queue ({target.sources['max_submit_jobs']}: {target.max_submit_jobs})"
    )


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def packing_json(packing: Packing) -> dict[str, Any]:
    """Return the same as plain data."""
    return {
        "nodes": packing.num_nodes,
        "lower_bound": packing.lower_bound,
        "idle_gpus": packing.idle_gpus,
        "idle_cpus": packing.idle_cpus,
        "idle_memory": packing.idle_memory,
        "jobs": [
            {
                "nodes": pack.num_nodes,
                "gpus_per_node": pack.gpus_per_node,
                "cpus_per_node": pack.cpus_per_node,
                "memory_gb_per_node": pack.memory_gb_per_node,
                "time_s": pack.time_s,
                "members": [
                    {
                        "run": member.demand.name,
                        "nodes": member.nodes,
                        "gpus": member.gpus,
                        "begin_s": member.begin_s,
                    }
                    for member in pack.members
                ],
            }
            for pack in packing.packs
        ],
    }


def _look(pack: PlannedPack) -> tuple[Any, ...]:
    """Return a key that is equal for packs that differ in the names of their runs only."""
    members = tuple((_placement(member), member.begin_s > 0) for member in pack.members)
    asked = (pack.gpus_per_node, pack.cpus_per_node, pack.memory_gb_per_node)
    return (pack.num_nodes, *asked, pack.time_s, members)


def _row(alike: list[PlannedPack]) -> tuple[str, ...]:
    pack = alike[0]
    runs = ", ".join(_members(pack)) if len(alike) == 1 else _range(alike)
    return (
        str(len(alike)),
        str(pack.num_nodes),
        str(pack.gpus_per_node),
        str(pack.cpus_per_node),
        f"{pack.memory_gb_per_node:g} GB",
        show_seconds(pack.time_s),
        runs,
    )


def _members(pack: PlannedPack) -> Iterator[str]:
    for member in pack.members:
        delay = f" after {show_seconds(member.begin_s)}" if member.begin_s else ""
        yield f"{member.demand.name}{_placement(member)}{delay}"


def _placement(member: Placed) -> str:
    """Return nodes and GPUs, such as `@n0:g1` or `@n0-1:g0-3`; node 0 alone is left out."""
    gpus = [gpu for node in member.gpus[:1] for gpu in node]
    where = f"n{_span(member.nodes)}" if len(member.nodes) > 1 or member.nodes[0] else ""
    which = f"g{_span(gpus)}" if gpus else ""
    place = ":".join(filter(None, (where, which)))
    return f"@{place}" if place else ""


def _span(numbers: tuple[int, ...] | list[int]) -> str:
    first, last = numbers[0], numbers[-1]
    if first == last:
        return str(first)
    if list(numbers) == list(range(first, last + 1)):
        return f"{first}-{last}"
    return ",".join(map(str, numbers))


def _range(alike: list[PlannedPack]) -> str:
    count = len(alike[0].members)
    names = f"{alike[0].members[0].demand.name} … {alike[-1].members[-1].demand.name}"
    return f"{count} each: {names}" if count > 1 else f"1 each: {names}"

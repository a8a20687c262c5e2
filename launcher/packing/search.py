"""Fill nodes by many rules, and keep the best result."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby

from launcher.packing.demand import PackLimits, Size
from launcher.packing.fill import Group, Kind, Rule, Sequential, fill
from launcher.packing.jobs import Job, PlacedRun

_WORK = 500_000
_WORK_PER_RUN = 20
"""Scores computed, about, before the search stops. A count and not a time: packing must give the
same result on every machine."""
_MAX_RULES = 60
_Weights = tuple[float, float, float]


def best_groups(
    runs: Mapping[Size, Sequence[int]],
    times_s: Sequence[int],
    limits: PackLimits,
    node: Size,
    bound: int,
) -> list[Job]:
    """Place all runs on groups of nodes, each group as large as its widest run.

    Args:
        runs: Their numbers by size.
        times_s: The time of each, by number.
        bound: Of nodes, as from `lower_bound`; a packing that reaches it ends the search.
    """
    by_time = {
        size: sorted(numbers, key=lambda number: (-times_s[number], number))
        for size, numbers in runs.items()
    }
    sequential = None
    if limits.runs_per_pack is not None:
        nodes = min(limits.nodes_per_pack, limits.max_nodes or limits.nodes_per_pack)
        sequential = Sequential(
            runs=limits.runs_per_pack, nodes=nodes, time_limit_s=limits.time_limit_s
        )
    by_size_alone = sequential is None and len(set(times_s)) > 1
    best: list[Job] = []
    least: tuple[int, ...] = ()
    work = -_WORK - _WORK_PER_RUN * len(times_s)
    for number, rule in enumerate(_rules(_totals(runs, node))):
        if number and (work > 0 or number == _MAX_RULES):
            break
        kinds = _kinds(by_time, times_s, timed=not by_size_alone or rule.alike > 0)
        groups = list(fill(list(kinds), node, rule, sequential))
        jobs = list(_jobs(groups, kinds, times_s))
        cost = _cost(jobs, sequential)
        if not least or cost < least:
            best, least = jobs, cost
        if sequential is None and least[0] <= bound and not by_size_alone:
            break
        work += 8 * len(times_s) + sum(len(group.placements) for group in groups) * len(kinds)
    return best


def _totals(runs: Mapping[Size, Sequence[int]], node: Size) -> _Weights:
    """Return the total demand for each resource, relative to the scarcest one."""
    totals = [0.0, 0.0, 0.0]
    for size, numbers in runs.items():
        for resource, fraction in enumerate(size.fractions(node)):
            totals[resource] += size.nodes * len(numbers) * fraction
    most = max(totals)
    gpus, cpus, memory = (total / most for total in totals) if most else (1.0, 1.0, 1.0)
    return gpus, cpus, memory


def _rules(totals: _Weights) -> Iterator[Rule]:
    """Yield the rules that are best for most runs first, then random ones, with a fixed seed.

    The weights by total demand are those of Panigrahy et al. (2011).
    """
    for alike in (1.0, 3.0, 0.0, 10.0):
        for weights in (totals, _power(totals, 2), (1.0, 1.0, 1.0)):
            yield Rule(weights=weights, rest=2, square=1, alike=alike)
            yield Rule(weights=weights, rest=1, alike=alike)
        yield Rule(weights=(1.0, 1.0, 1.0), size=1, alike=alike)
    draw = random.Random(0)
    while True:
        weights = _power(totals, draw.uniform(0, 4))
        gpus, cpus, memory = (weight * draw.uniform(0.3, 1) for weight in weights)
        rest, square = draw.choice(((1.0, 0.0), (2.0, 1.0), (2.0, 0.5)))
        yield Rule(
            weights=(gpus, cpus, memory),
            rest=rest,
            square=square,
            alike=draw.choice((0.0, 0.5, 2.0, 10.0)),
        )


def _power(weights: _Weights, exponent: float) -> _Weights:
    gpus, cpus, memory = weights
    return gpus**exponent, cpus**exponent, memory**exponent


def _kinds(
    by_time: Mapping[Size, Sequence[int]], times_s: Sequence[int], *, timed: bool
) -> dict[Kind, list[int]]:
    """Return the numbers of the runs of each kind, longest first."""
    kinds: dict[Kind, list[int]] = {}
    for size, numbers in by_time.items():
        parts = groupby(numbers, key=times_s.__getitem__) if timed else [(0, numbers)]
        for _, part in parts:
            alike = list(part)
            kinds[Kind(size, times_s[alike[0]], len(alike))] = alike
    return kinds


def _jobs(
    groups: Sequence[Group], kinds: Mapping[Kind, list[int]], times_s: Sequence[int]
) -> Iterator[Job]:
    """Yield the groups with runs in their places: of every kind, the longest first."""
    numbers = {kind: iter(of_kind) for kind, of_kind in kinds.items()}
    for group in groups:
        for _ in range(group.copies):
            runs = []
            for placement in group.placements:
                number = next(numbers[placement.kind])
                size = placement.kind.size
                time_s = times_s[number]
                runs.append(
                    PlacedRun(
                        number, size, time_s, placement.nodes, placement.gpus, placement.begin_s
                    )
                )
            yield Job.of(runs)


def _cost(jobs: Sequence[Job], sequential: Sequential | None) -> tuple[int, ...]:
    """Return what to minimize: jobs if sequential, nodes, node time, and distinct kinds of jobs."""
    num_nodes = sum(job.num_nodes for job in jobs)
    node_time_s = sum(job.num_nodes * job.time_s for job in jobs)
    shapes = len({(job.num_nodes, job.time_s, *sorted(map(_look, job.runs))) for job in jobs})
    costs = (num_nodes, node_time_s, shapes)
    return (len(jobs), *costs) if sequential else costs


def _look(run: PlacedRun) -> tuple[int, ...]:
    size = run.size
    return (size.nodes, size.whole, size.share, size.cpus, size.memory)

"""Make jobs of filled groups of nodes: groups side by side, and jobs run sequentially as one."""

from __future__ import annotations

import bisect
import heapq
from collections import deque
from collections.abc import Iterable, Sequence
from contextlib import suppress

from attrs import evolve, frozen

from launcher.errors import DoesNotFitError
from launcher.packing.demand import GB, PackLimits, Size
from launcher.tables import show_seconds

_LONG_S = 24 * 3600
"""Runs that wait for each other in a job for less than this are not worth a question."""


@frozen
class PlacedRun:
    """A run, by its number, in a job."""

    index: int
    size: Size
    time_s: int
    nodes: tuple[int, ...]
    gpus: tuple[tuple[int, ...], ...]
    begin_s: int

    @property
    def end_s(self) -> int:
        return self.begin_s + self.time_s


@frozen
class Job:
    """Runs that share nodes over time."""

    runs: tuple[PlacedRun, ...]
    """By start, then by number."""
    num_nodes: int

    @classmethod
    def of(cls, runs: Iterable[PlacedRun]) -> Job:
        ordered = tuple(sorted(runs, key=lambda run: (run.begin_s, run.index)))
        return cls(ordered, 1 + max(run.nodes[-1] for run in ordered))

    @property
    def time_s(self) -> int:
        return max(run.end_s for run in self.runs)

    @property
    def order(self) -> int:
        """The smallest number of its runs."""
        return min(run.index for run in self.runs)

    def peak(self) -> Size:
        """Return the most that its runs take on any node at any time."""
        gpus = max((gpu for run in self.runs for node in run.gpus for gpu in node), default=-1)
        most_cpus = most_memory = 0
        for node in range(self.num_nodes):
            here = [run for run in self.runs if node in run.nodes]
            changes = [(run.begin_s, run.size.cpus, run.size.memory) for run in here]
            changes += [(run.end_s, -run.size.cpus, -run.size.memory) for run in here]
            cpus = memory = 0
            for _, more_cpus, more_memory in sorted(changes):  # ends before starts at the same time
                cpus += more_cpus
                memory += more_memory
                most_cpus, most_memory = max(most_cpus, cpus), max(most_memory, memory)
        return Size(self.num_nodes, gpus + 1, 0, most_cpus, most_memory)

    def moved(self, *, nodes: int = 0, begin_s: int = 0) -> Iterable[PlacedRun]:
        """Return its runs, shifted by nodes and time."""
        return (
            evolve(
                run,
                nodes=tuple(node + nodes for node in run.nodes),
                begin_s=run.begin_s + begin_s,
            )
            for run in self.runs
        )


def merge_groups(groups: Sequence[Job], limits: PackLimits) -> list[Job]:
    """Merge groups into jobs of `nodes_per_pack` nodes, groups of similar time together.

    Best fit decreasing: the next group, by nodes and then by time, goes into the job with the
    fewest free nodes that are enough.
    """
    most = min(limits.nodes_per_pack, limits.max_nodes or limits.nodes_per_pack)
    if most == 1 or limits.runs_per_pack is not None:
        return sorted(groups, key=lambda job: job.order)
    parts: list[list[Job]] = []
    free: dict[int, deque[int]] = {}  # number of free nodes -> positions of jobs that have them
    for group in sorted(groups, key=lambda job: (-job.num_nodes, -job.time_s, job.order)):
        fitting = min((left for left in free if left >= group.num_nodes and free[left]), default=0)
        position = free[fitting].popleft() if fitting else len(parts)
        if not fitting:
            parts.append([])
        parts[position].append(group)
        left = (fitting or most) - group.num_nodes
        if left > 0:
            free.setdefault(left, deque()).append(position)
    return sorted(map(_side_by_side, parts), key=lambda job: job.order)


def _side_by_side(groups: Sequence[Job]) -> Job:
    runs: list[PlacedRun] = []
    num_nodes = 0
    for group in groups:
        runs += group.moved(nodes=num_nodes)
        num_nodes += group.num_nodes
    return Job.of(runs)


def take_turns(jobs: Sequence[Job], limits: PackLimits) -> Sequence[Job]:
    """Merge jobs that cannot run at once anyway: runs wait for each other better than in the queue.

    Only jobs that ask for as much of what is limited: small ones run beside large ones. Not if that
    makes long jobs, which start later and lose more at a preemption.
    """
    most = limits.job.all_jobs
    if not most or limits.runs_per_pack is not None:
        return jobs
    alike: dict[tuple[float, ...], list[Job]] = {}
    for job in jobs:
        alike.setdefault((job.num_nodes, *_asked(job, most)), []).append(job)
    found: list[Job] = []
    for (_, *asked), group in alike.items():
        numbers = [int(most[name] // each) for name, each in zip(most, asked, strict=True) if each]
        at_once = max(1, min(numbers, default=len(group)))
        merged = group
        if len(group) > at_once:
            with suppress(DoesNotFitError):
                merged = _run_sequentially(group, at_once, limits)
        found += group if max(job.time_s for job in merged) > _LONG_S else merged
    return sorted(found, key=lambda job: job.order)


def _asked(job: Job, names: Iterable[str]) -> list[float]:
    """Return how much of each resource a job asks for, on all of its nodes together."""
    peak = job.peak()
    of_node = {"gpus": peak.whole, "cpus": peak.cpus, "memory_gb": peak.memory / GB, "nodes": 1}
    return [job.num_nodes * of_node[name] for name in names]


def fewer_jobs(jobs: Sequence[Job], limits: PackLimits) -> Sequence[Job]:
    """Return the jobs, merged into `max_packs` jobs that each run several sequentially if need be.

    Raises:
        DoesNotFitError: They would not end within the time limit, or the number of runs per job is
            given; or they would take far longer than once earlier jobs have ended.
    """
    most = limits.max_packs
    if most is None or len(jobs) <= most:
        return jobs
    merged = _run_sequentially(jobs, most, limits)
    later = limits.max_packs_later or most
    time_s = max(job.time_s for job in merged)
    if later > most and time_s > _LONG_S:
        then = jobs if len(jobs) <= later else _run_sequentially(jobs, later, limits)
        then_s = max(job.time_s for job in then)
        if time_s > 2 * then_s:
            raise DoesNotFitError(
                f"the runs do not fit because they make {len(jobs)} jobs and {most} more may be in "
                f"the queue now: one after the other they take {show_seconds(time_s)}, and "
                f"{show_seconds(then_s)} once the queue has room for {later}; wait for some jobs "
                "to end, cancel some, or submit fewer runs"
            )
    return merged


def _run_sequentially(jobs: Sequence[Job], most: int, limits: PackLimits) -> list[Job]:
    """Merge jobs into so many jobs, each of which runs several sequentially.

    Raises:
        DoesNotFitError: As `fewer_jobs`.
    """
    if (runs_per_pack := limits.runs_per_pack) is not None:
        num_runs = sum(len(job.runs) for job in jobs)
        raise DoesNotFitError(
            f"the runs do not fit because they make {len(jobs)} jobs of up to {runs_per_pack} runs "
            f"and the limit is {most}; {-(-num_runs // most)} runs a job might fit, or lift the "
            "limit of runs per job"
        )
    if limits.job.depend_on_nodes and len({job.num_nodes for job in jobs}) > 1:
        raise DoesNotFitError(
            f"the runs do not fit because they make {len(jobs)} jobs and the limit is {most}: jobs "
            "of different numbers of nodes cannot be merged where a job's resources are limited; "
            "submit the runs over several nodes on their own"
        )
    ordered = sorted(jobs, key=lambda job: (-job.time_s, -job.num_nodes, job.order))
    limit_s = limits.time_limit_s
    chains = _longest_first(ordered, most)
    if limit_s is not None and any(_is_too_long(chain, limit_s) for chain in chains):
        chains = _best_fit(ordered, limit_s)
    if len(chains) > most:
        raise DoesNotFitError(
            f"the runs do not fit because they make {len(jobs)} jobs side by side and the limit "
            f"is {most}, which cannot run them sequentially within {limit_s} s; "
            f"{len(chains)} jobs would fit"
        )
    return sorted(map(_sequential, chains), key=lambda job: job.order)


def _longest_first(jobs: Sequence[Job], num_chains: int) -> list[list[Job]]:
    """Distribute jobs, longest first, to chains that end early and alike.

    Longest processing time first (Graham, 1969): the next job goes to the chain that ends first.
    The last chain ends at most 4/3 as late as at the optimum.
    """
    chains: list[list[Job]] = [[] for _ in range(num_chains)]
    ends = [(0, chain) for chain in range(num_chains)]
    for job in jobs:
        end_s, chain = ends[0]
        chains[chain].append(job)
        heapq.heapreplace(ends, (end_s + job.time_s, chain))
    return chains


def _is_too_long(jobs: Sequence[Job], limit_s: int) -> bool:
    return len(jobs) > 1 and sum(job.time_s for job in jobs) > limit_s


def _best_fit(jobs: Sequence[Job], limit_s: int) -> list[list[Job]]:
    """Distribute jobs, longest first, to few chains within the time limit.

    Best fit decreasing: the next job goes to the chain with the least time left that is enough.
    """
    chains: list[list[Job]] = []
    left: list[tuple[int, int]] = []  # sorted: time that a chain has left, its position
    for job in jobs:
        at = bisect.bisect_left(left, (job.time_s, -1))
        if at < len(left):
            free_s, chain = left.pop(at)
        else:
            free_s, chain = limit_s, len(chains)
            chains.append([])
        chains[chain].append(job)
        if free_s > job.time_s:
            bisect.insort(left, (free_s - job.time_s, chain))
    return chains


def _sequential(jobs: Sequence[Job]) -> Job:
    runs: list[PlacedRun] = []
    begin_s = 0
    for job in jobs:
        runs += job.moved(begin_s=begin_s)
        begin_s += job.time_s
    return Job.of(runs)

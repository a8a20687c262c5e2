"""From filled groups of nodes to jobs: several groups in one, and jobs one after the other."""

from __future__ import annotations

import bisect
import heapq
from collections import deque
from collections.abc import Iterable, Sequence

from attrs import evolve, frozen

from launcher.errors import DoesNotFitError
from launcher.packing.demand import PackLimits, Size


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
    """Runs on nodes of their own."""

    runs: tuple[PlacedRun, ...]
    """In the order of their starts, and then of their numbers."""
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
        """The least number of its runs."""
        return min(run.index for run in self.runs)

    def peak(self) -> Size:
        """The most that its runs take on any node at any time."""
        gpus = max((gpu for run in self.runs for node in run.gpus for gpu in node), default=-1)
        most_cpus = most_memory = 0
        for node in range(self.num_nodes):
            here = [run for run in self.runs if node in run.nodes]
            changes = [(run.begin_s, run.size.cpus, run.size.memory) for run in here]
            changes += [(run.end_s, -run.size.cpus, -run.size.memory) for run in here]
            cpus = memory = 0
            for _, more_cpus, more_memory in sorted(changes):  # what ends at a time, ends first
                cpus += more_cpus
                memory += more_memory
                most_cpus, most_memory = max(most_cpus, cpus), max(most_memory, memory)
        return Size(self.num_nodes, gpus + 1, 0, most_cpus, most_memory)

    def moved(self, *, nodes: int = 0, begin_s: int = 0) -> Iterable[PlacedRun]:
        """Its runs so many nodes further, and so much later."""
        return (
            evolve(
                run,
                nodes=tuple(node + nodes for node in run.nodes),
                begin_s=run.begin_s + begin_s,
            )
            for run in self.runs
        )


def joined(groups: Sequence[Job], limits: PackLimits) -> list[Job]:
    """Jobs of as many nodes as they should have, the longest groups together."""
    most = min(limits.nodes_per_pack, limits.max_nodes or limits.nodes_per_pack)
    if most == 1 or limits.runs_per_pack is not None:
        return sorted(groups, key=lambda job: job.order)
    parts: list[list[Job]] = []
    free: dict[int, deque[int]] = {}  # nodes that a job may still get -> positions of such jobs
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


def taking_turns(jobs: Sequence[Job], limits: PackLimits) -> list[Job]:
    """No more jobs than there may be: each goes on with the runs of others when its own are done.

    Raises:
        DoesNotFitError: They would not end within the time limit, or a job is to have so and so
            many runs.
    """
    most = limits.max_packs
    assert most is not None
    if (runs_per_pack := limits.runs_per_pack) is not None:
        num_runs = sum(len(job.runs) for job in jobs)
        raise DoesNotFitError(
            f"the runs do not fit because they make {len(jobs)} jobs of up to {runs_per_pack} runs "
            f"and there may be {most}; {-(-num_runs // most)} runs a job might fit, or let them be "
            "as many as fit"
        )
    longest_first = sorted(jobs, key=lambda job: (-job.time_s, -job.num_nodes, job.order))
    limit_s = limits.time_limit_s
    rows = _evenly(longest_first, most)
    if limit_s is not None and any(_is_too_long(row, limit_s) for row in rows):
        rows = _first_fit(longest_first, limit_s)
    if len(rows) > most:
        raise DoesNotFitError(
            f"the runs do not fit because they make {len(jobs)} jobs side by side and there may be "
            f"{most}, in which they do not end one after the other within {limit_s} s; "
            f"{len(rows)} jobs would fit"
        )
    return sorted(map(_one_after_the_other, rows), key=lambda job: job.order)


def _evenly(jobs: Sequence[Job], num_rows: int) -> list[list[Job]]:
    """The next longest goes where it ends first."""
    rows: list[list[Job]] = [[] for _ in range(num_rows)]
    ends = [(0, row) for row in range(num_rows)]
    for job in jobs:
        end_s, row = ends[0]
        rows[row].append(job)
        heapq.heapreplace(ends, (end_s + job.time_s, row))
    return rows


def _is_too_long(jobs: Sequence[Job], limit_s: int) -> bool:
    return len(jobs) > 1 and sum(job.time_s for job in jobs) > limit_s


def _first_fit(jobs: Sequence[Job], limit_s: int) -> list[list[Job]]:
    """As few rows as need be: the next longest goes where it fits best."""
    rows: list[list[Job]] = []
    left: list[tuple[int, int]] = []  # sorted: time that a row has left, its position
    for job in jobs:
        at = bisect.bisect_left(left, (job.time_s, -1))
        if at < len(left):
            free_s, row = left.pop(at)
        else:
            free_s, row = limit_s, len(rows)
            rows.append([])
        rows[row].append(job)
        if free_s > job.time_s:
            bisect.insort(left, (free_s - job.time_s, row))
    return rows


def _one_after_the_other(jobs: Sequence[Job]) -> Job:
    runs: list[PlacedRun] = []
    begin_s = 0
    for job in jobs:
        runs += job.moved(begin_s=begin_s)
        begin_s += job.time_s
    return Job.of(runs)

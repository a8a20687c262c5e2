"""Fill node after node by one greedy rule; `search` tries several rules and keeps the best result.

Vector bin packing by dot product and by norm, after Panigrahy, Talwar, Uyeda and Wieder,
"Heuristics for Vector Bin Packing" (2011): the run that goes next onto a node is the one whose
demand is most similar to what is left there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from attrs import define, frozen

from launcher.packing.demand import GPU, Size

_WORK = 1_000_000
_WINDOWS = (8, 64)
"""Candidates of each number of GPUs, at least and at most: about `_WORK` divided by the number of
kinds."""


@frozen(kw_only=True)
class Rule:
    """A score: the kind of run with the highest one goes next onto a node.

    With f the fractions of a node that a run takes and r those that are left, the score is the sum
    over resources of weight·f·(size + rest·r - square·f), minus `alike` times the difference of the
    run's time from that of the first run on the node. `rest=1` alone is the dot product of f and r;
    `rest=2, square=1` minimizes the norm of r - f, since 2·f·r - f² = r² - (r - f)²; `size=1` alone
    is the largest volume first.
    """

    weights: tuple[float, float, float]
    """Of GPUs, CPUs and memory."""
    size: float = 0.0
    rest: float = 0.0
    square: float = 0.0
    alike: float = 0.0


@define(eq=False)
class Kind:
    """Runs of one size, and of one time if the rule uses times; they are interchangeable."""

    size: Size
    time_s: int
    """Of the longest."""
    left: int
    """How many are not placed yet."""


@frozen
class Placement:
    """Where a run of a kind goes in a group of nodes."""

    kind: Kind
    nodes: tuple[int, ...]
    gpus: tuple[tuple[int, ...], ...]
    begin_s: int


@frozen
class Group:
    """Nodes that are filled, and how many more are filled alike."""

    placements: tuple[Placement, ...]
    copies: int

    @property
    def num_nodes(self) -> int:
        return 1 + max(placement.nodes[-1] for placement in self.placements)


@frozen(kw_only=True)
class Sequential:
    """Jobs of a given number of runs, sequential where they do not fit side by side."""

    runs: int
    nodes: int
    time_limit_s: int | None


def fill(
    kinds: Sequence[Kind], node: Size, rule: Rule, sequential: Sequential | None
) -> Iterator[Group]:
    """Place all runs; yield groups of nodes, and reduce `left` of each kind to 0."""
    scored = [_Scored(kind, node, rule) for kind in kinds]
    longest = max(kind.time_s for kind in kinds)
    stock = _Stock(scored)
    while (first := stock.first()) is not None:
        num_nodes = first.kind.size.nodes
        if sequential:
            num_nodes = max(num_nodes, sequential.nodes)
        filling = _Filling([_FreeNode(node) for _ in range(num_nodes)], rule.alike / longest)
        filling.fill(stock.candidates(num_nodes), first, sequential)
        # The same again while the runs suffice: 100,000 equal runs take as long as a few.
        copies = min(kind.left // count for kind, count in filling.counts.items())
        for kind, count in filling.counts.items():
            kind.left -= count * copies
        yield Group(tuple(filling.placements), copies)


class _Scored:
    """A kind, and the parts of its score that do not depend on the node."""

    __slots__ = ("cpus", "fixed", "gpus", "kind", "memory")

    def __init__(self, kind: Kind, node: Size, rule: Rule) -> None:
        parts = list(zip(rule.weights, kind.size.fractions(node), strict=True))
        self.kind = kind
        self.fixed = sum(w * f * (rule.size - rule.square * f) for w, f in parts)
        self.gpus, self.cpus, self.memory = (rule.rest * w * f for w, f in parts)

    @property
    def order(self) -> tuple[int, int, int, float]:
        size = self.kind.size
        volume = self.fixed + self.gpus + self.cpus + self.memory
        return (size.nodes, size.gpu_units, self.kind.time_s, volume)


class _Stock:
    """The kinds that have runs left, by nodes and GPUs."""

    def __init__(self, scored: Sequence[_Scored]) -> None:
        self._levels: dict[tuple[int, int], list[_Scored]] = {}
        for each in sorted(scored, key=lambda each: each.order, reverse=True):
            size = each.kind.size
            self._levels.setdefault((size.nodes, size.gpu_units), []).append(each)
        self._used_up = dict.fromkeys(self._levels, 0)  # kinds without runs at the start of each
        least, most = _WINDOWS
        self._window = min(most, max(least, _WORK // len(scored)))

    def first(self) -> _Scored | None:
        """Return a kind over the most nodes; None if no runs are left. Drop levels without runs."""
        for level in list(self._levels):
            kinds = self._levels[level]
            for each in kinds[self._used_up[level] :]:
                if each.kind.left:
                    return each
                self._used_up[level] += 1
            del self._levels[level]
        return None

    def candidates(self, num_nodes: int) -> list[_Scored]:
        """Return kinds for a group of nodes: of each level all, or the first and some others."""
        found: list[_Scored] = []
        for level, kinds in self._levels.items():
            if level[0] > num_nodes:
                continue
            begin, window = self._used_up[level], self._window
            if len(kinds) - begin > 2 * window:
                step = (len(kinds) - begin) // window
                kinds = kinds[begin : begin + window] + kinds[begin + window :: step]
            elif begin:
                kinds = kinds[begin:]
            found += [each for each in kinds if each.kind.left]
        return found


class _FreeNode:
    """What is free on one node."""

    __slots__ = ("cpus", "gpus", "memory", "node", "units")

    def __init__(self, node: Size) -> None:
        self.node = node
        self.gpus = [GPU] * node.whole
        self.units = node.gpu_units
        self.cpus = node.cpus
        self.memory = node.memory

    def has(self, size: Size) -> bool:
        if size.cpus > self.cpus or size.memory > self.memory:
            return False
        if size.whole:
            return self.gpus.count(GPU) >= size.whole
        return not size.share or any(free >= size.share for free in self.gpus)

    def take(self, size: Size) -> tuple[int, ...]:
        """Take what a run needs; return its GPUs. A share goes to the GPU with the best fit."""
        chosen: tuple[int, ...] = ()
        if size.whole:
            free = [gpu for gpu, units in enumerate(self.gpus) if units == GPU]
            chosen = tuple(free[: size.whole])
        elif size.share:
            fitting = [(units, gpu) for gpu, units in enumerate(self.gpus) if units >= size.share]
            chosen = (min(fitting)[1],)
        self._add(size, chosen, -1)
        return chosen

    def free(self, size: Size, gpus: tuple[int, ...]) -> None:
        self._add(size, gpus, 1)

    def _add(self, size: Size, gpus: tuple[int, ...], sign: int) -> None:
        for gpu in gpus:
            self.gpus[gpu] += sign * (size.share or GPU)
        self.units += sign * size.gpu_units
        self.cpus += sign * size.cpus
        self.memory += sign * size.memory


class _Filling:
    """A group of nodes while it is filled."""

    def __init__(self, nodes: list[_FreeNode], alike: float) -> None:
        self.placements: list[Placement] = []
        self.counts: dict[Kind, int] = {}
        self._nodes = nodes
        self._alike = alike
        self._time_s = 0

    def fill(self, kinds: list[_Scored], first: _Scored, sequential: Sequential | None) -> None:
        self._time_s = max(each.kind.time_s for each in kinds)
        if first.kind.size.nodes > 1:
            self._time_s = first.kind.time_s
            self._put(first.kind, range(first.kind.size.nodes), 0)
        most = sequential.runs if sequential else None
        self._fill_at(0, kinds, most)
        if sequential is None:
            return
        running = list(self.placements)
        while running and len(self.placements) < sequential.runs:
            now_s = min(placement.begin_s + placement.kind.time_s for placement in running)
            running = [placement for placement in running if not self._ends(placement, now_s)]
            limit_s = sequential.time_limit_s
            if limit_s is not None:
                kinds = [each for each in kinds if now_s + each.kind.time_s <= limit_s]
            num_before = len(self.placements)
            self._fill_at(now_s, kinds, most)
            running += self.placements[num_before:]

    def _ends(self, placement: Placement, now_s: int) -> bool:
        """Free what a run takes if it has ended; return whether it has."""
        if placement.begin_s + placement.kind.time_s > now_s:
            return False
        for node, gpus in zip(placement.nodes, placement.gpus, strict=True):
            self._nodes[node].free(placement.kind.size, gpus)
        return True

    def _fill_at(self, now_s: int, kinds: list[_Scored], most: int | None) -> None:
        """Place runs side by side: first those over several nodes, then node by node."""
        wide = [each for each in kinds if each.kind.size.nodes > 1]
        while wide and (most is None or len(self.placements) < most):
            wide = [
                each for each in wide if self._is_left(each.kind) and self._nodes_for(each.kind)
            ]
            if wide:
                kind = self._best(wide, self._nodes[0])
                self._put(kind, self._nodes_for(kind), now_s)
        narrow = [each for each in kinds if each.kind.size.nodes == 1]
        for node, free in enumerate(self._nodes):
            fitting = narrow
            while most is None or len(self.placements) < most:
                fitting = [
                    each
                    for each in fitting
                    if free.has(each.kind.size) and self._is_left(each.kind)
                ]
                if not fitting:
                    break
                self._put(self._best(fitting, free), (node,), now_s)

    def _is_left(self, kind: Kind) -> bool:
        return self.counts.get(kind, 0) < kind.left

    def _nodes_for(self, kind: Kind) -> Sequence[int]:
        """Return the nodes for a run; none if fewer than it needs have room."""
        found = [node for node, free in enumerate(self._nodes) if free.has(kind.size)]
        return found[: kind.size.nodes] if len(found) >= kind.size.nodes else ()

    def _best(self, kinds: Sequence[_Scored], free: _FreeNode) -> Kind:
        node = free.node
        gpus = free.units / node.gpu_units if node.whole else 0.0
        cpus, memory = free.cpus / node.cpus, free.memory / node.memory
        alike, time_s = self._alike, self._time_s
        best, highest = kinds[0], float("-inf")
        for each in kinds:
            score = each.fixed + each.gpus * gpus + each.cpus * cpus + each.memory * memory
            if alike:
                score -= alike * abs(each.kind.time_s - time_s)
            if score > highest:
                best, highest = each, score
        if not self.placements:
            self._time_s = best.kind.time_s
        return best.kind

    def _put(self, kind: Kind, nodes: Sequence[int], now_s: int) -> None:
        gpus = tuple(self._nodes[node].take(kind.size) for node in nodes)
        self.placements.append(Placement(kind, tuple(nodes), gpus, now_s))
        self.counts[kind] = self.counts.get(kind, 0) + 1

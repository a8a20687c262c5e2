"""Fill node after node, by one rule: what a rule gives is compared by who asks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from attrs import define, frozen

from launcher.packing.demand import GPU, Size

_WORK = 1_000_000
_WINDOWS = (8, 64)
"""Kinds looked at for each number of GPUs, where there are more: the fewer, the more there are."""


@frozen(kw_only=True)
class Rule:
    """What goes next onto a node: the kind of run with the highest score.

    With f the fractions of a node that a run takes and r those that are left, the score is the
    weighted sum of f·(size + rest·r - square·f), less `alike` times how much the run's time differs
    from that of the first run on the node.
    """

    weights: tuple[float, float, float]
    """Of GPUs, CPUs and memory."""
    size: float = 0.0
    rest: float = 0.0
    square: float = 0.0
    alike: float = 0.0


@define(eq=False)
class Kind:
    """Runs that are equal in all that counts."""

    size: Size
    time_s: int
    """Of the longest."""
    left: int
    """How many have no place yet."""


@frozen
class Place:
    """Where a run of a kind goes in a group of nodes."""

    kind: Kind
    nodes: tuple[int, ...]
    gpus: tuple[tuple[int, ...], ...]
    begin_s: int


@frozen
class Group:
    """Nodes that are filled alike, and how often."""

    places: tuple[Place, ...]
    copies: int

    @property
    def num_nodes(self) -> int:
        return 1 + max(place.nodes[-1] for place in self.places)


@frozen(kw_only=True)
class Turns:
    """Jobs of a given number of runs, which take turns where they do not fit side by side."""

    runs: int
    nodes: int
    time_limit_s: int | None


def fill(kinds: Sequence[Kind], node: Size, rule: Rule, turns: Turns | None) -> Iterator[Group]:
    """Groups that hold all runs, and leave none of the kinds any."""
    scored = [_Scored(kind, node, rule) for kind in kinds]
    longest = max(kind.time_s for kind in kinds)
    stock = _Stock(scored)
    while (first := stock.first()) is not None:
        num_nodes = first.kind.size.nodes
        if turns:
            num_nodes = max(num_nodes, turns.nodes)
        filling = _Filling([_Room(node) for _ in range(num_nodes)], rule.alike / longest)
        filling.fill(stock.candidates(num_nodes), first, turns)
        copies = min(kind.left // count for kind, count in filling.counts.items())
        for kind, count in filling.counts.items():
            kind.left -= count * copies
        yield Group(tuple(filling.places), copies)


class _Scored:
    """A kind and what its score is made of."""

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
        self._dead = dict.fromkeys(self._levels, 0)
        least, most = _WINDOWS
        self._window = min(most, max(least, _WORK // len(scored)))

    def first(self) -> _Scored | None:
        """A kind over as many nodes as any; None if no runs are left. Forgets kinds without."""
        for level in list(self._levels):
            kinds = self._levels[level]
            for each in kinds[self._dead[level] :]:
                if each.kind.left:
                    return each
                self._dead[level] += 1
            del self._levels[level]
        return None

    def candidates(self, num_nodes: int) -> list[_Scored]:
        """Kinds for a group of so many nodes: of every level all, or the first and some others."""
        found: list[_Scored] = []
        for level, kinds in self._levels.items():
            if level[0] > num_nodes:
                continue
            begin, window = self._dead[level], self._window
            if len(kinds) - begin > 2 * window:
                step = (len(kinds) - begin) // window
                kinds = kinds[begin : begin + window] + kinds[begin + window :: step]
            elif begin:
                kinds = kinds[begin:]
            found += [each for each in kinds if each.kind.left]
        return found


class _Room:
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
        """The GPUs; a share goes where it leaves least."""
        chosen: tuple[int, ...] = ()
        if size.whole:
            free = [gpu for gpu, units in enumerate(self.gpus) if units == GPU]
            chosen = tuple(free[: size.whole])
        elif size.share:
            fitting = [(units, gpu) for gpu, units in enumerate(self.gpus) if units >= size.share]
            chosen = (min(fitting)[1],)
        self._add(size, chosen, -1)
        return chosen

    def give_back(self, size: Size, gpus: tuple[int, ...]) -> None:
        self._add(size, gpus, 1)

    def _add(self, size: Size, gpus: tuple[int, ...], sign: int) -> None:
        for gpu in gpus:
            self.gpus[gpu] += sign * (size.share or GPU)
        self.units += sign * size.gpu_units
        self.cpus += sign * size.cpus
        self.memory += sign * size.memory


class _Filling:
    """A group of nodes while it is filled."""

    def __init__(self, rooms: list[_Room], alike: float) -> None:
        self.places: list[Place] = []
        self.counts: dict[Kind, int] = {}
        self._rooms = rooms
        self._alike = alike
        self._time_s = 0

    def fill(self, kinds: list[_Scored], first: _Scored, turns: Turns | None) -> None:
        self._time_s = max(each.kind.time_s for each in kinds)
        if first.kind.size.nodes > 1:
            self._time_s = first.kind.time_s
            self._put(first.kind, range(first.kind.size.nodes), 0)
        most = turns.runs if turns else None
        self._fill_at(0, kinds, most)
        if turns is None:
            return
        under_way = list(self.places)
        while under_way and len(self.places) < turns.runs:
            now_s = min(place.begin_s + place.kind.time_s for place in under_way)
            under_way = [place for place in under_way if not self._ends(place, now_s)]
            limit_s = turns.time_limit_s
            if limit_s is not None:
                kinds = [each for each in kinds if now_s + each.kind.time_s <= limit_s]
            begun = len(self.places)
            self._fill_at(now_s, kinds, most)
            under_way += self.places[begun:]

    def _ends(self, place: Place, now_s: int) -> bool:
        if place.begin_s + place.kind.time_s > now_s:
            return False
        for node, gpus in zip(place.nodes, place.gpus, strict=True):
            self._rooms[node].give_back(place.kind.size, gpus)
        return True

    def _fill_at(self, now_s: int, kinds: list[_Scored], most: int | None) -> None:
        """Place what fits side by side: first runs over several nodes, then node by node."""
        wide = [each for each in kinds if each.kind.size.nodes > 1]
        while wide and (most is None or len(self.places) < most):
            wide = [each for each in wide if self._is_left(each.kind) and self._nodes(each.kind)]
            if wide:
                kind = self._best(wide, self._rooms[0])
                self._put(kind, self._nodes(kind), now_s)
        narrow = [each for each in kinds if each.kind.size.nodes == 1]
        for node, room in enumerate(self._rooms):
            fitting = narrow
            while most is None or len(self.places) < most:
                fitting = [
                    each
                    for each in fitting
                    if room.has(each.kind.size) and self._is_left(each.kind)
                ]
                if not fitting:
                    break
                self._put(self._best(fitting, room), (node,), now_s)

    def _is_left(self, kind: Kind) -> bool:
        return self.counts.get(kind, 0) < kind.left

    def _nodes(self, kind: Kind) -> Sequence[int]:
        """Nodes that have room for the run; none if they are too few."""
        found = [node for node, room in enumerate(self._rooms) if room.has(kind.size)]
        return found[: kind.size.nodes] if len(found) >= kind.size.nodes else ()

    def _best(self, kinds: Sequence[_Scored], room: _Room) -> Kind:
        node = room.node
        gpus = room.units / node.gpu_units if node.whole else 0.0
        cpus, memory = room.cpus / node.cpus, room.memory / node.memory
        alike, time_s = self._alike, self._time_s
        best, highest = kinds[0], float("-inf")
        for each in kinds:
            score = each.fixed + each.gpus * gpus + each.cpus * cpus + each.memory * memory
            if alike:
                score -= alike * abs(each.kind.time_s - time_s)
            if score > highest:
                best, highest = each, score
        if not self.places:
            self._time_s = best.kind.time_s
        return best.kind

    def _put(self, kind: Kind, nodes: Sequence[int], now_s: int) -> None:
        gpus = tuple(self._rooms[node].take(kind.size) for node in nodes)
        self.places.append(Place(kind, tuple(nodes), gpus, now_s))
        self.counts[kind] = self.counts.get(kind, 0) + 1

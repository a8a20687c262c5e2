"""What is true of every packing, worked out in another way than the packing itself."""

from collections import Counter, defaultdict
from fractions import Fraction


def exact(number):
    """The number as it is written: 0.1 + 0.2 is 0.3."""
    return Fraction(repr(number))


def check(packing, demands, limits):
    """Stop at whatever is wrong with a packing."""
    placed = Counter(member.demand for pack in packing.packs for member in pack.members)
    assert placed == Counter(demands)
    assert packing.num_nodes == sum(pack.num_nodes for pack in packing.packs)
    if limits.max_packs is not None:
        assert len(packing.packs) <= limits.max_packs
    for pack in packing.packs:
        check_pack(pack, limits)


def check_pack(pack, limits):
    shape, limit_s = limits.shape, limits.time_limit_s
    assert pack.members
    if limits.runs_per_pack is not None:
        assert len(pack.members) <= limits.runs_per_pack
    begins = [member.begin_s for member in pack.members]
    assert begins == sorted(begins)
    assert begins[0] == 0
    if limits.max_nodes is not None:
        assert pack.num_nodes <= limits.max_nodes
    used_nodes, used_gpus = set(), {-1}
    for member in pack.members:
        demand = member.demand
        assert len(set(member.nodes)) == len(member.nodes) == demand.nodes
        used_nodes |= set(member.nodes)
        for gpus in member.gpus:
            used_gpus |= set(gpus)
            assert (
                len(set(gpus))
                == len(gpus)
                == (demand.gpus if demand.gpus >= 1 else demand.gpus > 0)
            )
        assert len(member.gpus) == demand.nodes
        if member.begin_s > 0 and limit_s is not None:
            assert member.begin_s + demand.time_s <= limit_s
    assert used_nodes == set(range(pack.num_nodes))
    assert used_gpus == set(range(-1, pack.gpus_per_node))
    last_s = max(member.begin_s + member.demand.time_s for member in pack.members)
    assert pack.time_s == (last_s if limit_s is None else min(last_s, limit_s))

    most_cpus, most_memory = 0, Fraction(0)
    for now_s in set(begins):
        live = [m for m in pack.members if m.begin_s <= now_s < m.begin_s + m.demand.time_s]
        shares: Counter[tuple[int, int]] = Counter()
        cpus: Counter[int] = Counter()
        memory: dict[int, Fraction] = defaultdict(Fraction)
        for member in live:
            for node, numbers in zip(member.nodes, member.gpus, strict=True):
                cpus[node] += member.demand.cpus
                memory[node] += exact(member.demand.memory_gb)
                for gpu in numbers:
                    shares[node, gpu] += min(1, exact(member.demand.gpus))
        assert all(share <= 1 for share in shares.values())
        most_cpus = max(most_cpus, *cpus.values())
        most_memory = max(most_memory, *memory.values())
    assert pack.gpus_per_node <= shape.gpus
    assert pack.cpus_per_node == most_cpus <= shape.cpus
    assert exact(pack.memory_gb_per_node) <= exact(shape.memory_gb)
    assert 0 <= exact(pack.memory_gb_per_node) - most_memory < Fraction(1, 10**6)


def fewest_nodes(demands, shape):
    """The fewest nodes for all runs side by side, found by trying everything."""
    items = [
        (number, exact(demand.gpus), demand.cpus, exact(demand.memory_gb))
        for number, demand in enumerate(
            sorted(demands, key=lambda each: (each.nodes, each.gpus, each.cpus), reverse=True)
        )
        for _ in range(demand.nodes)
    ]
    best = [len(items)]
    nodes: list = []

    def place(position):
        if len(nodes) >= best[0]:
            return
        if position == len(items):
            best[0] = len(nodes)
            return
        tried = set()
        for node in nodes:
            state = tuple(sorted(item[1:] for item in node))
            if state in tried or node[-1][0] == items[position][0]:
                continue
            tried.add(state)
            if _fits([*node, items[position]], shape):
                node.append(items[position])
                place(position + 1)
                node.pop()
        nodes.append([items[position]])
        place(position + 1)
        nodes.pop()

    place(0)
    return best[0]


def _fits(node, shape):
    whole = sum(gpus for _, gpus, _, _ in node if gpus >= 1)
    shares = sorted((gpus for _, gpus, _, _ in node if 0 < gpus < 1), reverse=True)
    return (
        sum(cpus for _, _, cpus, _ in node) <= shape.cpus
        and sum(memory for _, _, _, memory in node) <= exact(shape.memory_gb)
        and whole <= shape.gpus
        and _share(shares, [Fraction(1)] * int(shape.gpus - whole))
    )


def _share(shares, free):
    if not shares:
        return True
    return any(
        _share(shares[1:], [*free[:gpu], left - shares[0], *free[gpu + 1 :]])
        for gpu, left in enumerate(free)
        if left >= shares[0] and left not in free[:gpu]
    )

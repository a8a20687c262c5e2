import random
from statistics import mean

import attrs
import pytest

from launcher.errors import DoesNotFitError
from launcher.packing.packing import (
    Demand,
    JobLimits,
    NodeShape,
    PackLimits,
    infeasible_reasons,
    pack,
)
from scripts.workloads.packing_instances import instance
from tests.launcher.packing.packing_oracle import check, fewest_nodes

SHAPE = NodeShape(gpus=4, cpus=32, memory_gb=128.0)
HOUR_S = 3600


def run(name="run", *, gpus=1, cpus=1, memory_gb=1.0, hours=1, nodes=1):
    return Demand(
        name=name,
        nodes=nodes,
        gpus=gpus,
        cpus=cpus,
        memory_gb=memory_gb,
        time_s=int(hours * HOUR_S),
    )


def runs(count, **asked):
    return [run(f"run-{number}", **asked) for number in range(count)]


def packed(demands, shape=SHAPE, **limits):
    """A packing that has been checked."""
    found = PackLimits(shape=shape, **limits)
    packing = pack(demands, found)
    check(packing, demands, found)
    return packing


def names(packing):
    return [[member.demand.name for member in each.members] for each in packing.packs]


def begins_h(plan):
    return [member.begin_s / HOUR_S for member in plan.members]


@pytest.mark.parametrize(
    "begin", [0, *(pytest.param(begin, marks=pytest.mark.slow) for begin in range(25, 200, 25))]
)
def test_random_packings_are_valid_and_close_to_the_bound(begin):
    """No node is ever overfull, and few nodes could be saved at most."""
    excess = []
    for seed in range(begin, begin + 25):
        demands, limits = instance(seed, max_runs=80)
        packing = pack(demands, limits)
        check(packing, demands, limits)
        assert packing.num_nodes >= packing.lower_bound
        excess.append(packing.num_nodes / packing.lower_bound - 1)
    assert mean(excess) < 0.03


def test_packings_are_valid_under_all_limits():
    """Turns, jobs of several nodes, few jobs and short jobs never make a node overfull."""
    for seed in range(60):
        demands, limits = instance(seed, max_runs=50)
        draw = random.Random(seed)
        limits = attrs.evolve(
            limits,
            nodes_per_pack=draw.choice((1, 2, 5)),
            time_limit_s=draw.choice((None, 8 * HOUR_S, 48 * HOUR_S)),
            runs_per_pack=draw.choice((None, 1, 3, 10)),
            max_packs=draw.choice((None, 100)),
        )
        check(pack(demands, limits), demands, limits)


def test_few_runs_are_packed_as_well_as_can_be():
    """Of up to 8 runs, no arrangement has fewer nodes; the bound is never above."""
    for seed in range(150):
        demands, limits = instance(seed, max_runs=8)
        packing = pack(demands, limits)
        assert packing.lower_bound <= fewest_nodes(demands, limits.shape) == packing.num_nodes


def test_equal_arguments_give_equal_packings():
    """Nothing depends on chance, and jobs are in the order of their first runs."""
    demands, limits = instance(3)

    assert pack(demands, limits) == pack(list(demands), attrs.evolve(limits))
    assert names(packed(runs(6, gpus=2))) == [
        ["run-0", "run-1"],
        ["run-2", "run-3"],
        ["run-4", "run-5"],
    ]


def test_a_job_asks_for_what_its_runs_take():
    """A job of two small runs gets no whole node, and ends with the longer one."""
    (plan,) = packed([run("a", cpus=3, hours=2), run("b", memory_gb=9.5, cpus=1)]).packs

    assert (plan.num_nodes, plan.gpus_per_node, plan.cpus_per_node) == (1, 2, 4)
    assert (plan.memory_gb_per_node, plan.time_s) == (10.5, 2 * HOUR_S)
    assert [member.gpus for member in plan.members] == [((0,),), ((1,),)]


def test_what_is_idle_is_told():
    """Fractions of the nodes that the runs leave."""
    packing = packed(runs(6, cpus=4, memory_gb=8.0))

    assert packing.num_nodes == 2
    assert (packing.idle_gpus, packing.idle_cpus, packing.idle_memory) == (0.25, 0.625, 0.8125)


def test_no_runs_need_no_job():
    """An experiment that is finished packs into nothing."""
    packing = packed([])

    assert (packing.packs, packing.num_nodes, packing.lower_bound) == ((), 0, 0)


@pytest.mark.parametrize(
    ("share", "count", "nodes"),
    [(0.1, 40, 1), (0.1, 41, 2), (0.333, 12, 1), (0.34, 9, 2), (0.6, 5, 2), (1 / 3, 12, 1)],
)
def test_shares_add_up_exactly(share, count, nodes):
    """Ten tenths fill a GPU, and not more; no share lies on two GPUs."""
    packing = packed(runs(count, gpus=share, cpus=0))

    assert packing.num_nodes == packing.lower_bound == nodes


def test_unlike_shares_share_a_gpu():
    """0.1, 0.2 and 0.7 are one GPU; the run beside them gets three for itself."""
    shares = [run(f"{gpus}", gpus=gpus) for gpus in (0.1, 0.7, 0.2)]

    packing = packed([*shares, run("two", gpus=2), run("one")])

    assert packing.num_nodes == 1
    shared = {member.gpus for member in packing.packs[0].members if member.demand.gpus < 1}
    assert len(shared) == 1


def test_a_run_over_several_nodes_is_in_one_job():
    """It has the same on each node, and small runs fill what it leaves."""
    wide = run("wide", gpus=3, cpus=8, nodes=3)

    (plan,) = packed([*runs(3), wide]).packs

    assert plan.num_nodes == 3
    assert {member.nodes for member in plan.members if member.demand is not wide} == {
        (0,),
        (1,),
        (2,),
    }


def test_runs_over_several_nodes_share_them():
    """Two runs over two nodes with half of the GPUs each need two nodes."""
    assert packed(runs(2, gpus=2, nodes=2)).num_nodes == 2


def test_jobs_have_the_nodes_that_they_should_have():
    """Eight full nodes at three a job: the last job has two."""
    packing = packed(runs(8, gpus=4), nodes_per_pack=3)

    assert [plan.num_nodes for plan in packing.packs] == [3, 3, 2]
    packing = packed([*runs(2, gpus=4), run("wide", gpus=4, nodes=2)], nodes_per_pack=3)
    assert sorted(plan.num_nodes for plan in packing.packs) == [1, 3]
    assert [
        plan.num_nodes for plan in packed(runs(4, gpus=4), nodes_per_pack=9, max_nodes=2).packs
    ] == [2, 2]


def test_runs_of_alike_time_are_together():
    """No job waits a day for one run where another arrangement would end."""
    demands = [run(f"{n}", hours=24 if n % 4 == 0 else 1) for n in range(16)]

    packing = packed(demands)

    assert sorted(plan.time_s // HOUR_S for plan in packing.packs) == [1, 1, 1, 24]


def test_alike_jobs_stand_together():
    """Jobs that ask for the same follow each other: they are one array."""
    demands = [run(f"{n}", gpus=4, hours=1 + n % 2) for n in range(6)]

    times_h = [plan.time_s // HOUR_S for plan in packed(demands).packs]

    assert times_h == [1, 1, 1, 2, 2, 2]


def test_a_long_run_is_allowed():
    """A run beyond the time limit has a job of the longest time, and is requeued."""
    (plan,) = packed([run(hours=100)], time_limit_s=24 * HOUR_S).packs

    assert plan.time_s == 24 * HOUR_S


def test_no_packing():
    """One run a job has every run in a job of its own."""
    packing = packed(runs(3), runs_per_pack=1)

    assert names(packing) == [["run-0"], ["run-1"], ["run-2"]]
    assert [plan.gpus_per_node for plan in packing.packs] == [1, 1, 1]


def test_so_many_runs_a_job_take_turns():
    """Of six runs on a node that has room for four, two wait."""
    packing = packed(runs(12), runs_per_pack=6)

    assert [begins_h(plan) for plan in packing.packs] == [[0, 0, 0, 0, 1, 1]] * 2
    assert [plan.time_s for plan in packing.packs] == [2 * HOUR_S] * 2
    assert [plan.gpus_per_node for plan in packed(runs(4), runs_per_pack=2).packs] == [2, 2]


def test_turns_end_within_the_time_limit():
    """A job has fewer runs if they would not all have their turn in time."""
    packing = packed(runs(5, gpus=4, hours=3), runs_per_pack=5, time_limit_s=7 * HOUR_S)

    assert [begins_h(plan) for plan in packing.packs] == [[0, 3], [0, 3], [0]]


def test_turns_need_no_more_nodes():
    """A job of 1,000 runs has the nodes of one, and a run over two nodes takes its turn too."""
    (plan,) = packed(runs(1000, hours=0.01), runs_per_pack=1000).packs

    assert (plan.num_nodes, plan.time_s) == (1, 250 * 36)
    (plan,) = packed([*runs(2, gpus=4, nodes=2), run("small")], runs_per_pack=3).packs
    assert (plan.num_nodes, begins_h(plan)) == (2, [0, 1, 2])


def test_few_jobs_take_all_runs():
    """Where there may be two jobs only, runs wait for each other, evenly."""
    packing = packed(runs(6, gpus=4, hours=2), max_packs=2)

    assert [begins_h(plan) for plan in packing.packs] == [[0, 2, 4]] * 2
    assert packing.lower_bound == 6


def test_few_jobs_within_the_time_limit():
    """Turns are arranged so that they end in time, even if less evenly."""
    demands = [run(f"{n}", gpus=4, hours=hours) for n, hours in enumerate((3, 3, 2, 2, 2))]

    packing = packed(demands, max_packs=2, time_limit_s=6 * HOUR_S)

    assert [plan.time_s // HOUR_S for plan in packing.packs] == [6, 6]


def test_too_few_jobs_are_refused():
    """The message says how many would do."""
    with pytest.raises(DoesNotFitError) as caught:
        packed(runs(6, gpus=4, hours=2), max_packs=2, time_limit_s=5 * HOUR_S)
    assert str(caught.value) == (
        "the runs do not fit because they make 6 jobs side by side and the limit is 2, which "
        "cannot run them sequentially within 18000 s; 3 jobs would fit"
    )
    with pytest.raises(DoesNotFitError) as caught:
        packed(runs(6), max_packs=2, runs_per_pack=2)
    assert str(caught.value) == (
        "the runs do not fit because they make 3 jobs of up to 2 runs and the limit is 2; 3 runs a "
        "job might fit, or lift the limit of runs per job"
    )


def test_runs_do_not_wait_long_for_want_of_room_in_the_queue():
    """A sweep that would take days in the last free job has to wait for earlier jobs to end."""
    sweep = runs(40, gpus=4, hours=2)

    with pytest.raises(DoesNotFitError) as caught:
        packed(sweep, max_packs=1, max_packs_later=20)
    always_few = packed(sweep, max_packs=1, max_packs_later=1)
    short = packed(runs(4, gpus=4, hours=2), max_packs=1, max_packs_later=20)

    assert str(caught.value) == (
        "the runs do not fit because they make 40 jobs and 1 more may be in the queue now: one "
        "after the other they take 3-08:00:00, and 04:00:00 once the queue has room for 20; wait "
        "for some jobs to end, cancel some, or submit fewer runs"
    )
    assert (len(always_few.packs), always_few.num_side_by_side) == (1, 40)
    assert (len(short.packs), short.num_side_by_side) == (1, 4)


@pytest.mark.parametrize(
    ("gpus", "wide", "hours"), [(None, 4, [1, 5, 5, 5, 5]), (4, 1, [1, 5, 5, 5, 5])]
)
def test_small_jobs_do_not_wait_for_large_ones(gpus, wide, hours):
    """Of jobs that may not run at once only those that ask for as much are merged."""
    limits = JobLimits(all_jobs={"gpus": gpus} if gpus else {"nodes": 4})
    narrow = [run(f"{number}", gpus=1, cpus=32) for number in range(20)]

    packing = packed([run("wide", gpus=4, nodes=wide), *narrow], job=limits)

    assert [plan.time_s // HOUR_S for plan in packing.packs] == hours


def test_what_does_not_fit_is_said_at_once():
    """All reasons, the nearest values that would do, and each reason once."""
    demands = [
        run("large", gpus=8, memory_gb=200.5),
        *runs(13, cpus=40),
        run("wide", nodes=5),
        run("fits"),
    ]
    limits = PackLimits(shape=SHAPE, max_nodes=4)
    sentences = [
        "large does not fit because resources.gpus is 8 and a node has 4, and "
        "resources.memory_gb is 200.5 and a node has 128; "
        "resources.gpus=4 resources.memory_gb=128 would fit",
        "run-0 and 12 more do not fit because resources.cpus is 40 and a node has 32; "
        "resources.cpus=32 would fit",
        "wide does not fit because resources.nodes is 5 and a job at most has 4; "
        "resources.nodes=4 would fit",
    ]

    assert infeasible_reasons(demands, limits) == sentences
    with pytest.raises(DoesNotFitError) as caught:
        pack(demands, limits)
    assert str(caught.value) == "\n".join(sentences)


def test_the_nearest_place_that_would_do_is_named():
    """Of the partitions that have enough, the one with the least."""
    elsewhere = {
        "huge": PackLimits(shape=NodeShape(gpus=16, cpus=256, memory_gb=2000.0)),
        "big": PackLimits(shape=NodeShape(gpus=8, cpus=64, memory_gb=512.0)),
        "small": PackLimits(shape=NodeShape(gpus=2, cpus=64, memory_gb=512.0)),
    }

    assert infeasible_reasons(
        [run("large", gpus=8)],
        PackLimits(shape=SHAPE),
        where="a node of partition gpu",
        elsewhere=elsewhere,
    ) == [
        "large does not fit because resources.gpus is 8 and a node of partition gpu has 4; "
        "resources.gpus=4 would fit; partition big (8 GPUs, 64 CPUs and 512 GB a node) would fit"
    ]


def test_impossible_demands_are_refused():
    """One and a half GPUs are none, and a share is of one node."""
    with pytest.raises(ValueError, match=r"must be a share below 1, or a whole number; found 1\.5"):
        run(gpus=1.5)
    with pytest.raises(ValueError, match="a run over 2 nodes needs whole GPUs; found"):
        run(gpus=0.5, nodes=2)


@pytest.mark.slow
def test_a_hundred_thousand_runs():
    """Many runs of some sorts are packed as well as few."""
    demands, limits = instance(0)
    many = [attrs.evolve(demands[n % len(demands)], name=f"{n}") for n in range(100_000)]

    packing = pack(many, limits)

    check(packing, many, limits)
    assert packing.num_nodes / packing.lower_bound < 1.03

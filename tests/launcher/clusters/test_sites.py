"""What is decided at sites of many kinds."""

import math
from typing import Any

import attrs
import pytest

from launcher.clusters.slurm_cluster_config import SlurmClusterConfig
from launcher.clusters.slurm_target import limits_elsewhere, resolve_target
from launcher.errors import DoesNotFitError, LauncherError
from launcher.packing.demand import Demand
from launcher.packing.packing import infeasible_reasons, pack
from launcher.slurm.access import read_access
from launcher.slurm.tres import Tres
from tests.launcher.clusters.site_files import SITES, USER, read_site

HOUR_S = 3600


def run(name="run-0", *, gpus=1, cpus=4, memory_gb=16, nodes=1, hours=1):
    time_s = int(hours * HOUR_S)
    return Demand(name=name, nodes=nodes, gpus=gpus, cpus=cpus, memory_gb=memory_gb, time_s=time_s)


def resolve(site, *demands, given=None, user=USER, **fields):
    config = SlurmClusterConfig(kind="slurm", description="d", **fields)
    return resolve_target(
        config,
        read_site(site, user),
        config_source="c.yaml",
        demands=demands or [run()],
        **(given or {}),
    )


def refusal(*arguments, error=LauncherError, **options):
    with pytest.raises(error) as caught:
        resolve(*arguments, **options)
    return str(caught.value)


DECISIONS = {
    # site: partition, GPUs, CPUs and memory of a node, nodes
    "account_limits": ("gpu", 2, 40, 500, 1),
    "closed_partitions": ("gpu", 4, 32, 250, 1),
    "cloud": ("spot", 8, 96, 1094.4, 3),
    "drained_majority": ("gpu", 4, 32, 250, 4),
    "federation": ("gpu", 4, 32, 250, 1),
    "heterogeneous": ("all", 2, 16, 64, 5),
    "hyperthreads": ("gpu", 8, 124, 500, 1),
    "licenses": ("gpu", 2, 24, 117.2, 1),
    "limits_not_enforced": ("gpu", 8, 64, 500, 1),
    "maintenance": ("gpu", 4, 32, 250, 3),
    "memory_per_cpu": ("gpu", 4, 32, 128, 1),
    "mig": ("gpu", 4, 48, 250, 2),
    "no_accounting": ("main", 2, 16, 62.5, 1),
    "no_memory": ("gpu", 4, 48, math.inf, 2),
    "shards": ("gpu", 2, 32, 125, 1),
    "slurm_20_11": ("gpu", 2, 60, 185.5, 2),
    "slurm_25_05": ("gpu", 4, 56, 500, 2),
    "suspending": ("low", 4, 32, 250, 1),
    "tres_limits": ("gpu", 3, 48, 100, 2),
    "typed_gres": ("gpu", 4, 40, 185.5, 2),
}


@pytest.mark.parametrize("site", DECISIONS)
def test_where_a_run_of_one_gpu_goes(site):
    """The partition, what jobs may use of its nodes, and how many have that."""
    target = resolve(site)

    shape = target.shape
    found = (target.partition, shape.gpus, shape.cpus, round(shape.memory_gb, 1), target.max_nodes)
    assert found == DECISIONS[site]
    assert pack([run()], target.pack_limits()).packs


def test_every_site_is_decided_about():
    """Here, or in a test of its own."""
    own = {"no_gres", "required_account"}
    assert {path.stem for path in SITES.iterdir()} == {*DECISIONS, *own}


def test_memory_that_nodes_do_not_tell():
    """What the config says is taken; without it, nothing is refused for want of memory."""
    unknown = resolve("no_memory", run(memory_gb=500))
    told = resolve("no_memory", memory_gb_per_node=200.0)

    assert not read_site("no_memory").tracks_memory
    assert pack([run(memory_gb=500)], unknown.pack_limits()).idle_memory == 0
    assert (told.shape.memory_gb, told.sources["memory_gb_per_node"]) == (200, "c.yaml")
    assert infeasible_reasons([run(memory_gb=300)], told.pack_limits())


@pytest.mark.parametrize("site", ["no_accounting", "no_gres", "slurm_20_11"])
def test_memory_that_is_given_to_jobs(site):
    """By select/linear, too."""
    assert read_site(site).tracks_memory


def test_nodes_that_take_no_jobs():
    """They decide only where all are like that; then it is said."""
    site = read_site("drained_majority")
    (partition,) = site.partitions
    large = [group for group in partition.groups if group.shape.gpus == 8]
    site = attrs.evolve(site, partitions=(attrs.evolve(partition, groups=tuple(large)),))
    config = SlurmClusterConfig(kind="slurm", description="d")

    target = resolve_target(config, site, config_source="c.yaml", demands=[run()])

    assert target.shape.gpus == 8
    assert target.notes == (
        "the nodes that fit take no jobs now (down, drained or reserved): jobs wait; see "
        "`sinfo -R`",
    )
    assert resolve("drained_majority").notes == ()
    assert resolve("drained_majority", run(gpus=8)).shape.gpus == 8


def test_a_default_partition_of_which_nothing_works():
    """Another one is taken."""
    site = read_site("drained_majority")
    (gpu,) = site.partitions
    broken = [group for group in gpu.groups if group.num_unusable]
    works = [group for group in gpu.groups if not group.num_unusable]
    default = attrs.evolve(gpu, groups=tuple(broken))
    other = attrs.evolve(gpu, name="other", is_default=False, groups=tuple(works))
    site = attrs.evolve(site, partitions=(default, other))
    config = SlurmClusterConfig(kind="slurm", description="d")

    target = resolve_target(config, site, config_source="c.yaml", demands=[run()])

    assert target.sources["partition"] == (
        "Slurm: partition other has GPUs; the default, gpu, has none that take jobs now"
    )


@pytest.mark.parametrize(
    ("partition", "message"),
    [
        (
            "labx",
            "found 'labx', which takes jobs of account labx only, and this account is lab; add "
            "--account labx; open to you: cpu, gpu",
        ),
        (
            "urgent",
            "found 'urgent', which takes jobs of QOS high, urgent only, and this one is normal; "
            "add --qos high; open to you: cpu, gpu",
        ),
        (
            "denied",
            "found 'denied', which takes no jobs of accounts guests, lab; add --account labx; open "
            "to you: cpu, gpu",
        ),
        (
            "admin",
            "found 'admin', which takes jobs of root only; choose another one; open to you: cpu, "
            "gpu",
        ),
        (
            "gpu,course",
            "found 'course', which takes jobs in a reservation only (--reservation); choose "
            "another one; open to you: cpu, gpu",
        ),
    ],
)
def test_a_closed_partition_is_refused_by_name(partition, message):
    """With who may use it, and how this user can."""
    assert refusal("closed_partitions", given={"partition": partition}) == f"--partition: {message}"


@pytest.mark.parametrize(
    ("partition", "doubt"),
    [
        ("group", "is for members of group physics only"),
        ("portal", "takes jobs from portal1, portal2 only, and this machine is login1"),
    ],
)
def test_a_partition_that_may_be_closed(partition, doubt):
    """Groups and machines may be called otherwise where Slurm looks: it is left to it."""
    target = resolve("closed_partitions", given={"partition": partition})

    assert target.notes == (f"partition {partition} {doubt}: Slurm may refuse these jobs",)


def only_open(*names):
    """A site of closed partitions, without those that are open."""
    site = read_site("closed_partitions")
    parts = [attrs.evolve(site.partition("cpu"), is_default=True)]
    return attrs.evolve(site, partitions=(*parts, *map(site.partition, names)))


def test_gpus_that_are_closed_to_the_user():
    """They are not said to be missing: the error says what opens them."""
    config = SlurmClusterConfig(kind="slurm", description="d")
    with pytest.raises(DoesNotFitError) as caught:
        resolve_target(config, only_open("labx", "admin"), config_source="c", demands=[run()])

    assert str(caught.value) == (
        "run-0 does not fit because resources.gpus is 1 and the partitions with GPUs are closed to "
        "you: labx takes jobs of account labx only, and this account is lab (add --account labx); "
        "admin takes jobs of root only; resources.gpus=0 would fit"
    )


def test_gpus_that_may_be_closed_to_the_user():
    """They are taken if there are no others, and that is said."""
    config = SlurmClusterConfig(kind="slurm", description="d")
    site = only_open("labx", "group")

    target = resolve_target(config, site, config_source="c", demands=[run()])

    assert target.partition == "group"
    assert target.notes == (
        "partition group is for members of group physics only: Slurm may refuse these jobs",
    )


def test_a_default_partition_that_starts_no_jobs_now():
    """It is taken all the same, and that is said."""
    site = read_site("maintenance")
    (gpu,) = site.partitions
    site = attrs.evolve(site, partitions=(attrs.evolve(gpu, is_up=False),), maintenances=())
    config = SlurmClusterConfig(kind="slurm", description="d")

    target = resolve_target(config, site, config_source="c", demands=[run()])

    assert target.notes == ("partition gpu starts no jobs now",)


def test_who_may_use_a_partition():
    """Members, root, other accounts and QOS, and holders of a reservation."""
    root = attrs.evolve(USER, groups=frozenset(), is_root=True)
    member = attrs.evolve(USER, groups=frozenset({"physics"}))

    assert resolve("closed_partitions", given={"account": "labx"}).partition in ("labx", "denied")
    assert resolve("closed_partitions", partition="urgent", qos="high").partition == "urgent"
    assert resolve("closed_partitions", user=member, partition="group").notes == ()
    assert resolve("closed_partitions", user=root, partition="admin").notes == ()
    reserved = resolve("closed_partitions", partition="course", sbatch={"reservation": "r"})
    assert reserved.partition == "course"


def test_accounts_below_one_that_may_use_a_partition():
    """They may, since Slurm 23.11."""
    old = read_site("account_limits")
    (gpu,) = old.partitions
    closed = attrs.evolve(gpu, access=attrs.evolve(gpu.access, accounts=frozenset({"institute"})))

    def refused(version):
        site = attrs.evolve(old, version=version, partitions=(closed,))
        return site.refusal(closed, account=None, qos=None) is not None

    assert refused("22.05.8")
    assert not refused("24.05.4")


def test_names_in_upper_case_in_the_rules_of_a_partition():
    """Slurm does not mind, and prints them as they were configured."""
    record = {"AllowAccounts": "LAB", "AllowQos": "High", "AllowGroups": "ALL"}
    denying = {"DenyAccounts": "Guests", "DenyQos": "LOW"}

    def refusals(record, account, qos):
        who = {"user": USER, "accounts": (account,), "qos": qos, "has_reservation": False}
        return len(list(read_access(record).refusals(**who)))

    assert refusals(record, "lab", "high") == 0
    assert refusals(record, "labx", "low") == 2
    assert refusals(denying, "guests", "low") == 2


def test_advice_leaves_out_what_is_closed():
    """A run that does not fit is not sent to a partition of others."""
    site = read_site("closed_partitions")
    config = SlurmClusterConfig(kind="slurm", description="d")
    options: dict[str, Any] = {"config_source": "c.yaml", "demands": [run(gpus=8)]}
    target = resolve_target(config, site, **options)

    elsewhere = limits_elsewhere(target, config, site, **options)

    assert set(elsewhere) == {"cpu"}
    assert "cpu" not in refusal("closed_partitions", given={"time": "2-00:00:00"})


def test_advice_does_not_go_round_in_circles():
    """A run of too many nodes fits into no partition, whichever one is asked for."""
    site = read_site("heterogeneous")
    config = SlurmClusterConfig(kind="slurm", description="d")
    wide = run(nodes=9)
    for name in ("all", "fast"):
        options: dict[str, Any] = {"config_source": "c.yaml", "demands": [wide]}
        target = resolve_target(config, site, partition=name, **options)
        elsewhere = limits_elsewhere(target, config, site, **options)
        (reason,) = infeasible_reasons([wide], target.pack_limits(), elsewhere=elsewhere)
        assert "partition" not in reason


def test_several_partitions():
    """The tightest limits of all; a shape that each has; the shortest grace."""
    both = resolve("heterogeneous", given={"partition": "all,fast"})
    large = resolve("heterogeneous", run(gpus=8), partition="fast,all")

    assert (both.partition, both.time_limit_s, both.max_nodes) == ("all,fast", 4 * HOUR_S, 1)
    assert (both.grace_s, both.sources["time"]) == (30, "Slurm: partition fast")
    assert (both.shape.gpus, both.shape.cpus) == (2, 16)
    assert (large.partition, large.shape.gpus) == ("fast,all", 8)
    assert refusal("heterogeneous", partition="all,slow") == (
        "c.yaml: partition: found 'slow'; available: all, fast"
    )


def test_limits_on_what_jobs_use():
    """The first of partition QOS, QOS, user and accounts that sets a limit decides, as in Slurm."""
    target = resolve("tres_limits")

    assert (target.job.gpus, target.job.cpus, target.job.memory_gb) == (3, 48, 100)
    assert target.sources["gpus_per_node"] == "Slurm: QOS normal (MaxTRESPerUser)"
    assert target.sources["cpus_per_node"] == "Slurm: QOS normal (MaxTRESPerJob)"
    assert target.time_limit_s == 24 * HOUR_S
    assert target.limits == (
        "3 GPUs, by QOS normal (MaxTRESPerUser)",
        "48 cores, by QOS normal (MaxTRESPerJob)",
        "100 GB of memory, by QOS normal (MaxTRESPerJob)",
    )


def test_a_size_in_the_config_above_a_limit():
    """The error says whose limit it is: nodes have more."""
    assert refusal("tres_limits", gpus_per_node=4) == (
        "c.yaml: gpus_per_node: found 4; must be at most 3, the limit of QOS normal "
        "(MaxTRESPerUser)"
    )


def test_a_limit_that_allows_no_gpus():
    """It is what the refusal names."""
    site = read_site("tres_limits")
    none = attrs.evolve(site.qos("normal"), tres={"MaxTRESPerJob": Tres(gpus=0)})
    site = attrs.evolve(site, qoses=(none,))
    config = SlurmClusterConfig(kind="slurm", description="d")

    target = resolve_target(config, site, config_source="c.yaml", demands=[run()])

    assert infeasible_reasons([run()], target.pack_limits()) == [
        "run-0 does not fit because resources.gpus is 1 and QOS normal (MaxTRESPerJob) gives a job "
        "at most 0; resources.gpus=0 would fit"
    ]


def test_a_qos_that_beats_that_of_the_partition():
    """With OverPartQOS; a limit for each node counts as well."""
    target = resolve("tres_limits", qos="big")

    assert (target.job.gpus, target.shape.gpus, target.job.cpus) == (4, 2, 8)
    assert target.sources["gpus_per_node"] == "Slurm: QOS big (MaxTRESPerNode)"
    assert target.sources["cpus_per_node"] == "Slurm: account lab (MaxTRESPerJob)"


def test_limits_of_the_accounts_above():
    """They hold for the jobs of all accounts below."""
    target = resolve("account_limits")

    assert target.job.sources == {
        "gpus": "account group (GrpTRES)",
        "cpus": "account institute (GrpTRES)",
        "nodes": "account thesis (GrpTRES)",
    }
    assert refusal("account_limits", nodes=2) == (
        "c.yaml: nodes: found 2; must be at most 1, as many as a job in partition gpu can have "
        "(account thesis (GrpTRES))"
    )


def test_packs_are_cut_to_the_limits():
    """Also those over several nodes; what can never start is refused, with whose limit it is."""
    limits = resolve("tres_limits", qos="normal", nodes=2).pack_limits()

    packs = pack([run(f"{number}", hours=20) for number in range(7)], limits).packs
    wide = pack([run("wide", nodes=2), *(run(f"{n}") for n in range(3))], limits).packs

    assert [each.num_nodes * each.gpus_per_node for each in packs] == [3, 3, 1]
    assert sorted((each.num_nodes, each.gpus_per_node) for each in wide) == [(1, 3), (2, 1)]
    assert infeasible_reasons([run(gpus=4), run("wide", gpus=2, nodes=2)], limits) == [
        "run-0 does not fit because resources.gpus is 4 and QOS normal (MaxTRESPerUser) gives a "
        "job at most 3; resources.gpus=3 would fit",
        "wide does not fit because resources.gpus is 2 and QOS normal (MaxTRESPerUser) gives each "
        "of 2 nodes at most 1; resources.gpus=1 would fit",
    ]


def test_a_qos_that_takes_no_small_jobs():
    """Jobs ask for the least that it takes, and that is said."""
    site = read_site("tres_limits")
    large = attrs.evolve(site.qos("normal"), tres={"MinTRESPerJob": Tres(gpus=2, cpus=6)})
    config = SlurmClusterConfig(kind="slurm", description="d")
    target = resolve_target(
        config, attrs.evolve(site, qoses=(large,)), config_source="c.yaml", demands=[run()]
    )

    (small,) = pack([run()], target.pack_limits()).packs
    (enough,) = pack([run(gpus=4, cpus=8)], target.pack_limits()).packs

    assert (small.gpus_per_node, small.cpus_per_node, small.memory_gb_per_node) == (2, 6, 16)
    assert (enough.gpus_per_node, enough.cpus_per_node) == (4, 8)
    assert target.notes == (
        "jobs ask for at least 2 GPUs: their QOS takes no smaller ones",
        "jobs ask for at least 6 cores: their QOS takes no smaller ones",
    )


def test_jobs_that_cannot_run_at_once_are_one():
    """Runs wait for each other better than in the queue, if that makes no long jobs."""
    limits = resolve("tres_limits", qos="normal").pack_limits()

    (plan,) = pack([run(f"{number}") for number in range(6)], limits).packs
    long = pack([run(f"{number}", hours=20) for number in range(6)], limits).packs

    assert ([each.begin_s for each in plan.members], plan.gpus_per_node) == (
        [0, 0, 0, HOUR_S, HOUR_S, HOUR_S],
        3,
    )
    assert [each.gpus_per_node for each in long] == [3, 3]


def test_more_memory_than_goes_with_the_cpus():
    """A job asks for as many CPUs as its memory needs."""
    (plan,) = pack([run(cpus=2, memory_gb=30)], resolve("memory_per_cpu").pack_limits()).packs

    assert (plan.cpus_per_node, plan.memory_gb_per_node) == (8, 30)
    assert resolve("memory_per_cpu", partition="fat").shape.memory_gb == 256


def test_gpus_that_slurm_does_not_know_of():
    """A run without GPUs has the whole node."""
    assert resolve("no_gres", run(gpus=0)).shape.cpus == 160
    assert "Slurm knows of no GPUs on this cluster" in refusal("no_gres", error=DoesNotFitError)
    assert resolve("no_gres", gpus_per_node=4).shape.gpus == 4


def test_an_account_is_required():
    """The error lists those of the user; with one, the partition is one that it may use."""
    assert refusal("required_account") == (
        "Slurm takes no jobs without an account here, and you have no default one; add --account, "
        "or set account in the cluster config; available: p100, p200"
    )
    no_gpus = run(gpus=0)
    assert resolve("required_account", no_gpus, account="p100").partition == "gpu"
    assert refusal("required_account", no_gpus, account="p200", partition="gpu") == (
        "c.yaml: partition: found 'gpu', which is not among those that you may use with account "
        "p200; add --account p100; open to you: cpu"
    )


def test_a_planned_maintenance_is_told():
    """Jobs that may run into it wait."""
    assert resolve("maintenance").notes == (
        "maintenance power of 3 nodes begins at 2026-12-01T08:00:00: jobs that may run into it "
        "wait until it is over; with a shorter --time they may start before",
    )


@pytest.mark.parametrize(
    "config", [{"reservation": "course"}, {"sbatch": {"reservation": "course"}}]
)
def test_jobs_in_a_reservation_are_shaped_for_its_nodes(config):
    """They are kept for these jobs, and for no others."""
    reserved = resolve("maintenance", **config)

    assert (reserved.shape.gpus, reserved.max_nodes) == (8, 2)
    assert not any("take no jobs now" in note for note in reserved.notes)
    assert resolve("maintenance", reservation="other").shape.gpus == 4


def test_partitions_without_a_node_of_the_reservation():
    """No job of it can start there."""
    site = read_site("maintenance")
    (gpu,) = site.partitions
    default = attrs.evolve(gpu, name="default")
    gpu = attrs.evolve(gpu, is_default=False)
    site = attrs.evolve(site, partitions=(default, gpu))
    config = SlurmClusterConfig(kind="slurm", description="d", reservation="course")

    assert resolve_target(config, site, config_source="c", demands=[run()]).partition == "gpu"


def test_suspended_jobs_are_warned_of():
    """Only where they are."""
    (note,) = resolve("suspending").notes

    assert note.startswith("jobs in partition low are suspended to make room for others")
    assert resolve("suspending", partition="high").notes == ()

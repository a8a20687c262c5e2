from typing import Any

import attrs
import pytest

from launcher.clusters.slurm_cluster_config import SlurmClusterConfig
from launcher.clusters.slurm_target import limits_elsewhere, resolve_target
from launcher.errors import DoesNotFitError, LauncherError
from launcher.packing.demand import Demand, NodeShape
from launcher.slurm.site import (
    NodeGroup,
    SlurmAssociation,
    SlurmPartition,
    SlurmQos,
    SlurmSite,
)

HOUR = 3600


def group(gpus, cpus, memory_gb, num_nodes, *features):
    return NodeGroup(
        shape=NodeShape(gpus=gpus, cpus=cpus, memory_gb=memory_gb),
        features=frozenset(features),
        num_nodes=num_nodes,
        num_unusable=0,
    )


def partition(name, *groups, **facts):
    known: dict[str, Any] = {
        "is_default": False,
        "is_up": True,
        "is_hidden": False,
        "max_time_s": None,
        "default_time_s": None,
        "max_nodes": None,
        "grace_s": 0,
        "preempt_mode": "REQUEUE",
        "priority_tier": 1,
        "qos": None,
    }
    return SlurmPartition(name=name, groups=groups, **(known | facts))


CPU = partition("cpu", group(0, 64, 256, 50), is_default=True, max_time_s=24 * HOUR)
GPU = partition(
    "gpu",
    group(4, 32, 240, 20, "a100"),
    group(8, 96, 960, 2, "h100", "ib"),
    group(4, 32, 240, 4, "v100"),
    max_time_s=48 * HOUR,
    grace_s=60,
)
SMALL = partition("small", group(1, 8, 32, 100), max_time_s=4 * HOUR, max_nodes=2)
SITE = SlurmSite(
    version="23.11.4",
    cluster_name="test",
    max_array_size=1001,
    accounting=True,
    preempt_by="partition_prio",
    send_user_signal=False,
    kill_wait_s=30,
    job_requeue=True,
    partitions=(CPU, GPU, SMALL),
)
QOS = SlurmQos(
    name="low",
    grace_s=300,
    preempts=(),
    preempt_mode="requeue",
    max_time_s=12 * HOUR,
    max_submit_jobs=50,
)
LAB = SlurmAssociation(
    account="lab",
    partition=None,
    qos=("low", "high"),
    default_qos="low",
    max_time_s=None,
    max_submit_jobs=200,
)
ACCOUNTED = attrs.evolve(SITE, qoses=(QOS,), associations=(LAB,), default_account="lab")


def config(**fields):
    return SlurmClusterConfig(kind="slurm", description="d", **fields)


def run(gpus=1, cpus=4, memory_gb=16):
    return Demand(name="run-0", gpus=gpus, cpus=cpus, memory_gb=memory_gb, time_s=HOUR)


ONE_GPU = run()


def resolve(site=SITE, *, demands=(ONE_GPU,), given=None, **fields):
    return resolve_target(
        config(**fields), site, config_source="c.yaml", demands=demands, **(given or {})
    )


def elsewhere(target, site, **fields):
    options = {"config_source": "c.yaml", "demands": [ONE_GPU]}
    return limits_elsewhere(target, config(**fields), site, **options)


def refusal(error=LauncherError, **arguments):
    with pytest.raises(error) as caught:
        resolve(**arguments)
    return str(caught.value)


def test_the_command_line_beats_the_config_beats_slurm():
    """And each value remembers where it comes from."""
    slurm = resolve(demands=[run(gpus=0)])
    from_config = resolve(partition="gpu", time="10:00:00", nodes=2)
    given = {"partition": "small", "time": "02:00:00", "nodes": 1}
    from_line = resolve(partition="gpu", time="10:00:00", nodes=2, given=given)

    names = ("partition", "time", "nodes")
    assert [slurm.sources[name] for name in names] == [
        "Slurm: default partition cpu",
        "Slurm: partition cpu",
        "default",
    ]
    assert [from_config.sources[name] for name in names] == ["c.yaml"] * 3
    assert [from_line.sources[name] for name in names] == ["--partition", "--time", "--nodes"]
    assert (slurm.partition, slurm.time_limit_s, slurm.nodes) == ("cpu", 24 * HOUR, 1)
    assert (from_config.partition, from_config.time_limit_s) == ("gpu", 10 * HOUR)
    assert (from_line.partition, from_line.time_limit_s, from_line.nodes) == ("small", 2 * HOUR, 1)


def test_a_default_partition_without_gpus_is_not_taken_for_runs_with_gpus():
    """Of the others, the one where all runs fit on the most nodes is."""
    assert resolve().partition == "small"
    assert resolve(demands=[run(), run(gpus=4)]).partition == "gpu"
    assert resolve(demands=[run(gpus=4)]).sources["partition"] == (
        "Slurm: partition gpu has GPUs; the default, cpu, has none"
    )


def test_the_commonest_nodes_on_which_all_runs_fit():
    """Nodes that differ in features only are counted together."""
    small = resolve(partition="gpu")
    large = resolve(partition="gpu", demands=[run(), run(gpus=8)])

    assert (small.shape, small.max_nodes) == (NodeShape(gpus=4, cpus=32, memory_gb=240), 26)
    assert (large.shape, large.max_nodes) == (NodeShape(gpus=8, cpus=96, memory_gb=960), 2)


def test_the_largest_nodes_where_a_run_fits_nowhere():
    """They tell most about what would fit."""
    assert resolve(partition="gpu", demands=[run(gpus=16)]).shape.gpus == 8


def test_the_constraint_picks_nodes():
    """As far as it is a row of features; more is left to Slurm."""
    assert resolve(partition="gpu", constraint="h100&ib").shape.gpus == 8
    assert resolve(partition="gpu", constraint="v100|none").max_nodes == 4
    assert resolve(partition="gpu", constraint="[a100*2&v100*1]").shape.gpus == 4
    assert refusal(partition="gpu", constraint="h100&v100") == (
        "c.yaml: constraint: no node of partition gpu has 'h100&v100'; available features: "
        "a100, h100, ib, v100"
    )


def test_half_a_node_gets_half_of_its_cpus_and_memory():
    """Unless the config says how many."""
    half = resolve(partition="gpu", gpus_per_node=2)
    said = resolve(partition="gpu", gpus_per_node=2, cpus_per_node=30, memory_gb_per_node=200.0)

    assert half.shape == NodeShape(gpus=2, cpus=16, memory_gb=120)
    assert half.sources["gpus_per_node"] == "c.yaml"
    assert half.sources["cpus_per_node"] == "Slurm: nodes of partition gpu, 2 of 4 GPUs"
    assert said.shape == NodeShape(gpus=2, cpus=30, memory_gb=200)


def test_nodes_smaller_than_the_config_says():
    """The error names the field, and what there is."""
    assert refusal(partition="gpu", gpus_per_node=16) == (
        "c.yaml: gpus_per_node: found 16; must be at most 8, as nodes of partition gpu have"
    )
    assert refusal(partition="small", memory_gb_per_node=64.0) == (
        "c.yaml: memory_gb_per_node: found 64; must be at most 32, as nodes of partition small have"
    )


def test_a_partition_of_which_slurm_names_no_nodes():
    """The config must describe them, and is believed."""
    site = attrs.evolve(SITE, partitions=(partition("cloud", is_default=True),))
    size = {"gpus_per_node": 1, "cpus_per_node": 8, "memory_gb_per_node": 60.0}

    described = resolve(site, partition="cloud", **size)

    assert (described.shape.gpus, described.max_nodes) == (1, None)
    assert refusal(site=site, partition="cloud", gpus_per_node=1) == (
        "Slurm lists no nodes of partition cloud; choose another partition, or set "
        "gpus_per_node, cpus_per_node and memory_gb_per_node in c.yaml"
    )


def test_unknown_names_list_the_known_ones():
    """With the nearest one, and where the wrong one was written."""
    assert refusal(partition="gpus") == (
        "c.yaml: partition: found 'gpus'; did you mean 'gpu'? available: cpu, gpu, small"
    )
    assert refusal(given={"partition": "x"}) == (
        "--partition: found 'x'; available: cpu, gpu, small"
    )
    assert refusal(site=ACCOUNTED, account="labs") == (
        "c.yaml: account: found 'labs'; did you mean 'lab'? available: lab"
    )
    assert refusal(site=ACCOUNTED, given={"qos": "urgent"}) == (
        "--qos: found 'urgent'; available: low, high"
    )


def test_names_in_upper_case():
    """Slurm does not mind."""
    target = resolve(ACCOUNTED, partition="gpu", account="Lab", qos="LOW")

    assert (target.account, target.qos, target.max_submit_jobs) == ("Lab", "LOW", 50)


def test_hidden_and_closed_partitions_are_taken_only_by_name():
    """They are not suggested either."""
    closed, hidden = attrs.evolve(SMALL, is_up=False), attrs.evolve(GPU, is_hidden=True)
    site = attrs.evolve(SITE, partitions=(CPU, closed, hidden))

    assert resolve(site, partition="gpu").partition == "gpu"
    assert elsewhere(resolve(site, partition="cpu"), site) == {}
    assert "no partition of this cluster" in refusal(DoesNotFitError, site=site)


def test_names_that_cannot_be_checked_are_left_to_slurm():
    """Without accounting, nothing is known of accounts and QOS."""
    target = resolve(account="lab", qos="urgent")

    assert (target.account, target.qos) == ("lab", "urgent")


def test_a_time_above_the_limit():
    """The error says the limit, whose it is, and who takes such jobs."""
    assert refusal(given={"time": "3-00:00:00"}, partition="gpu") == (
        "--time: found 3-00:00:00; must be at most 2-00:00:00, the limit of partition gpu; runs "
        "that take longer are requeued and resume"
    )
    assert refusal(given={"time": "12:00:00"}, partition="small").endswith(
        "runs that take longer are requeued and resume. Partitions that take it: cpu, gpu"
    )
    assert refusal(given={"time": "two hours"}) == (
        "--time: found 'two hours'; must be a time above 0 as HH:MM:SS or days-HH:MM:SS, "
        "such as 02:00:00"
    )


def test_the_lowest_limit_counts():
    """Of partition, QOS and account."""
    target = resolve(ACCOUNTED, partition="gpu")

    assert (target.time_limit_s, target.sources["time"]) == (12 * HOUR, "Slurm: QOS low")
    assert (target.max_submit_jobs, target.sources["max_submit_jobs"]) == (50, "Slurm: QOS low")


def test_no_limit():
    """A job takes as long as its runs need."""
    site = attrs.evolve(SITE, partitions=(attrs.evolve(GPU, max_time_s=None),))

    target = resolve(site, partition="gpu")

    assert (target.time_limit_s, target.max_submit_jobs) == (None, None)
    assert target.sources["time"] == "Slurm: no limit"


def test_more_nodes_than_a_job_can_have():
    """By the partition's limit, or by the nodes that there are."""
    assert refusal(given={"nodes": 3}, partition="small") == (
        "--nodes: found 3; must be at most 2, as many as a job in partition small can have"
    )
    assert refusal(nodes=27, partition="gpu") == (
        "c.yaml: nodes: found 27; must be at most 26, as many as a job in partition gpu can have"
    )


def test_the_grace():
    """Of the partition or of the QOS, as the cluster preempts by; else the time before SIGKILL."""
    by_qos = attrs.evolve(ACCOUNTED, preempt_by="qos")
    never = attrs.evolve(SITE, preempt_by="none")

    assert resolve(partition="gpu").grace_s == 60
    assert resolve(partition="gpu").sources["grace_s"] == "Slurm: GraceTime of partition gpu"
    assert resolve(by_qos, partition="gpu").grace_s == 300
    assert resolve(partition="small").grace_s == 30
    assert resolve(partition="small").sources["grace_s"] == (
        "Slurm: KillWait, as there is no GraceTime of partition small"
    )
    assert resolve(never, partition="gpu").sources["grace_s"] == "Slurm: KillWait"
    assert resolve(partition="gpu", grace_s=90.0).grace_s == 90


def test_the_signal_before_the_time_limit():
    """Two minutes before, or the grace if that is longer; in a short job, in its last third."""
    assert resolve(partition="gpu").signal_lead_s == 120
    assert resolve(partition="gpu", grace_s=200.0).signal_lead_s == 200
    assert resolve(partition="gpu", time="00:01:00").signal_lead_s == 20


def test_what_comes_back_how():
    """scontrol unless the config says otherwise."""
    assert resolve().requeue == "scontrol"
    assert resolve(requeue="resubmit").requeue == "resubmit"


def test_what_the_config_knows_better():
    """Accounting, and the limits of arrays and jobs."""
    target = resolve(accounting=False, max_array_size=10, max_submit_jobs=7, max_running=3)

    assert not target.accounting
    assert (target.max_array_size, target.max_submit_jobs, target.max_running) == (10, 7, 3)


def test_no_gpus_anywhere():
    """The runs do not fit."""
    site = attrs.evolve(SITE, partitions=(CPU,))

    assert refusal(DoesNotFitError, site=site) == (
        "run-0 does not fit because resources.gpus is 1 and Slurm knows of no GPUs on this "
        "cluster; resources.gpus=0 would fit, or set gpus_per_node in the cluster config if its "
        "nodes have some all the same"
    )


def test_no_default_partition():
    """Runs without GPUs must be told where to go."""
    site = attrs.evolve(SITE, partitions=(GPU, SMALL))

    assert refusal(site=site, demands=[run(gpus=0)]) == (
        "Slurm has no default partition; add --partition; available: gpu, small"
    )


def test_limits_for_packing():
    """The target's, and those of the largest nodes elsewhere."""
    target = resolve(ACCOUNTED, partition="gpu", nodes=2)

    limits = target.pack_limits(runs_per_pack=3)
    others = elsewhere(target, ACCOUNTED)

    assert (limits.shape.gpus, limits.time_limit_s, limits.nodes_per_pack) == (4, 12 * HOUR, 2)
    assert (limits.runs_per_pack, limits.max_packs, limits.max_nodes) == (3, 50, 26)
    assert {name: each.shape.gpus for name, each in others.items()} == {"cpu": 0, "small": 1}
    assert others["small"].max_nodes == 2

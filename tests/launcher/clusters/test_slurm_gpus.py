"""Which GPUs jobs ask for, where Slurm has several types, none, or does not know."""

import attrs
import pytest

from launcher.errors import DoesNotFitError, LauncherError
from launcher.packing.demand import NodeShape
from tests.launcher.clusters.test_slurm_target import SITE, group, partition, refusal, resolve, run


def typed(gpu_type, gpus, num_nodes, *features):
    return attrs.evolve(group(gpus, 32, 240, num_nodes, *features), gpu_type=gpu_type)


def site_of(*groups, name="gpu"):
    return attrs.evolve(SITE, partitions=(partition(name, *groups, is_default=True),))


MIXED = site_of(typed("v100", 4, 20), typed("a100", 4, 6, "big"), typed("a100_1g.5gb", 28, 30))
PLAIN = site_of(typed(None, 4, 10))
WHOLE_NODES = site_of(group(0, 40, 190, 50))


@pytest.mark.parametrize(
    ("gpus", "expected"),
    [(1, "v100"), (4, "v100"), (8, "a100_1g.5gb")],
)
def test_one_type_for_all_jobs(gpus, expected):
    """Whole GPUs rather than slices, if the runs fit; of these the type of the most nodes."""
    target = resolve(MIXED, demands=[run(gpus=gpus)])

    assert (target.gpu_type, target.names_gpu_type) == (expected, True)
    assert target.sources["gpu_type"] == "Slurm: nodes of partition gpu"


def test_a_partition_of_whole_gpus_before_one_of_slices():
    """If none is the default, however many slices there are."""
    slices = partition("mig", typed("1g.10gb", 28, 99))
    site = attrs.evolve(SITE, partitions=(slices, partition("whole", typed("a100", 4, 2))))

    assert resolve(site).partition == "whole"
    assert resolve(site, demands=[run(gpus=8)]).partition == "mig"


def test_the_type_goes_with_its_nodes():
    """Of other nodes nothing counts, neither their GPUs nor how many there are."""
    target = resolve(MIXED, gpu_type="a100")

    assert (target.shape.gpus, target.max_nodes) == (4, 6)
    assert target.sources["gpu_type"] == "c.yaml"


def test_the_command_line_chooses_the_type():
    """Before the config, in any case of letters, also a slice."""
    target = resolve(MIXED, gpu_type="v100", given={"gpu_type": "A100_1G.5GB"})

    assert (target.gpu_type, target.shape.gpus) == ("a100_1g.5gb", 28)
    assert target.sources["gpu_type"] == "--gpu-type"


def test_the_config_may_rule_types_out():
    """By features, or by sizes that only some nodes have."""
    assert resolve(MIXED, constraint="big").gpu_type == "a100"
    assert resolve(MIXED, gpus_per_node=10).gpu_type == "a100_1g.5gb"


def test_slurm_does_not_hear_of_sizes_in_the_config():
    """Where they leave one type, it is asked for; after a constraint it need not be."""
    site = site_of(typed("a100", 4, 10, "old"), typed("h100", 8, 2, "new"))

    large = resolve(site, gpus_per_node=8)
    new = resolve(site, constraint="new")

    assert (large.gpu_type, large.names_gpu_type) == ("h100", True)
    assert (new.gpu_type, new.names_gpu_type) == ("h100", False)


def two_partitions(first, second):
    parts = (partition("a", *first, is_default=True), partition("b", *second))
    return attrs.evolve(SITE, partitions=parts)


def test_partitions_with_gpus_of_different_types():
    """Slurm would give either: a type that both have is asked for, or one partition is."""
    mixed = two_partitions([typed("a100", 4, 9), typed("v100", 4, 3)], [typed("a100", 4, 2)])
    apart = two_partitions([typed("a100", 4, 9)], [typed("h100", 8, 2)])

    common = resolve(mixed, partition="a,b")

    assert (common.gpu_type, common.names_gpu_type) == ("a100", True)
    assert refusal(site=apart, given={"partition": "a,b", "gpu_type": "h100"}) == (
        "--partition: found 'a,b', which have no type of GPUs in common (a has a100; b has h100), "
        "and other GPUs give other bits; choose one of them"
    )
    assert resolve(apart, partition="a,b", demands=[run(gpus=0)]).shape.gpus == 4


def test_partitions_with_nodes_without_gpus():
    """They are no type of GPUs that the partitions have in common."""
    cpu = group(0, 64, 256, 50)
    same = two_partitions([cpu, typed("a100", 4, 9)], [cpu, typed("a100", 8, 2)])
    plain = two_partitions([cpu, typed(None, 4, 9)], [typed(None, 8, 2)])
    apart = two_partitions([cpu, typed("a100", 4, 9)], [cpu, typed("h100", 8, 2)])

    assert resolve(same, partition="a,b").shape.gpus == 4
    assert resolve(plain, partition="a,b").shape.gpus == 4
    assert "no type of GPUs in common" in refusal(site=apart, partition="a,b")


def test_partitions_with_a_constraint():
    """It picks the nodes of each before what they have in common is taken."""
    site = two_partitions(
        [typed("a100", 2, 9), typed("a100", 8, 2, "big")], [typed("a100", 8, 3, "big")]
    )

    target = resolve(site, partition="a,b", constraint="big")

    assert (target.shape.gpus, target.max_nodes) == (8, 2)
    assert refusal(
        site=two_partitions(site.partitions[0].groups, [typed("a100", 8, 3)]),
        partition="a,b",
        constraint="big",
    ) == ("c.yaml: constraint: no node of partition b has 'big'; available features: none")


def test_a_type_is_asked_for_only_where_it_matters():
    """Where there is one, it is known all the same; some sites refuse types."""
    one = resolve(site_of(typed("a100", 4, 10)))
    told = resolve(site_of(typed("a100", 4, 10)), gpu_type="a100")
    none = resolve(PLAIN)
    no_gpus = resolve(MIXED, demands=[run(gpus=0)])

    assert (one.gpu_type, one.names_gpu_type) == ("a100", False)
    assert (told.gpu_type, told.names_gpu_type) == ("a100", True)
    assert (none.gpu_type, none.names_gpu_type) == (None, False)
    assert (no_gpus.gpu_type, no_gpus.names_gpu_type) == (None, False)


def test_runs_keep_the_type_that_they_began_on():
    """Unless another one is asked for: other GPUs give other bits."""
    kept = {"kept_gpu_types": {"seed-1": "a100", "seed-2": "a100"}}

    same = resolve(MIXED, given=kept)
    other = resolve(MIXED, given={**kept, "gpu_type": "v100"})

    assert (same.gpu_type, same.names_gpu_type, same.shape.gpus) == ("a100", True, 4)
    assert same.sources["gpu_type"] == "the runs began on it"
    assert other.gpu_type == "v100"
    assert resolve(PLAIN, given=kept).gpu_type is None  # Slurm does not tell what these are


def test_a_type_that_runs_began_on_and_is_not_there():
    """The error says where it is, and how to go on without it."""
    site = attrs.evolve(
        SITE,
        partitions=(
            partition("new", typed("h100", 8, 4)),
            partition("old", typed("a100", 4, 4)),
        ),
    )
    kept = {"seed-1": "a100"}

    assert resolve(site, given={"kept_gpu_types": kept}).partition == "old"
    assert refusal(site=site, partition="new", given={"kept_gpu_types": kept}) == (
        "gpu_type: these runs began on a100, and partition new has h100; other GPUs give other "
        "bits. Take another --partition, or --gpu-type h100 to resume there all the same; "
        "partitions with it: old"
    )


def test_runs_that_began_on_several_types():
    """Jobs have one: the user chooses."""
    kept = {"a": "v100", "b": "a100", "c": "v100"}

    assert refusal(site=MIXED, given={"kept_gpu_types": kept}) == (
        "gpu_type: these runs began on several (a100: b; v100: a and 1 more), and other GPUs give "
        "other bits; go on with those of one type at a time (`launch resubmit RUN`), or choose one "
        "for all with --gpu-type"
    )
    assert resolve(MIXED, given={"kept_gpu_types": kept, "gpu_type": "v100"}).gpu_type == "v100"


def test_a_type_that_is_not_there():
    """The error names those that are, and the partitions that have it."""
    site = attrs.evolve(MIXED, partitions=(*MIXED.partitions, partition("x", typed("h100", 8, 2))))

    assert refusal(site=site, partition="gpu", gpu_type="h100") == (
        "c.yaml: gpu_type: found 'h100'; partition gpu: did you mean 'v100'? available: v100, "
        "a100, a100_1g.5gb; partitions with it: x"
    )
    assert resolve(site, gpu_type="h100").partition == "x"
    assert refusal(site=PLAIN, given={"gpu_type": "a100"}) == (
        "--gpu-type: found 'a100'; partition gpu: Slurm lists its GPUs without types; leave it "
        "out, or choose nodes by constraint"
    )
    assert refusal(site=MIXED, given={"gpu_type": "a100:2"}).startswith(
        "--gpu-type: found 'a100:2'; must be one type of GPUs without their number, such as a100"
    )


def test_nodes_that_slurm_does_not_list_may_have_any_type():
    """As cloud nodes that are started on demand: the config is believed."""
    size = {"gpus_per_node": 4, "cpus_per_node": 32, "memory_gb_per_node": 200.0}

    target = resolve(site_of(), partition="gpu", gpu_type="a100", **size)

    assert (target.gpu_type, target.names_gpu_type) == ("a100", True)
    assert target.gpu_request == "gpus-per-node"


def test_a_slurm_that_knows_gpus_as_generic_resources_only():
    """They are asked for as such, without a word in the config, which may differ."""
    site = attrs.evolve(MIXED, takes_gpu_options=False)

    assert resolve(site).gpu_request == "gres"
    assert resolve(site).sources["gpu_request"] == "Slurm: SelectType"
    assert resolve(site, gpu_request="gpus-per-node").gpu_request == "gpus-per-node"


def test_gpus_that_slurm_does_not_know_of():
    """Where it gives whole nodes, the config's word counts, and nothing is asked for."""
    target = resolve(WHOLE_NODES, gpus_per_node=3)

    assert target.shape == NodeShape(gpus=3, cpus=40, memory_gb=190)
    assert (target.gpu_request, target.names_gpu_type) == ("none", False)
    assert target.sources["gpus_per_node"] == "c.yaml"
    assert target.sources["gpu_request"] == "Slurm: no node has GPUs to ask for"
    assert refusal(DoesNotFitError, site=WHOLE_NODES).endswith(
        "resources.gpus=0 would fit, or set gpus_per_node in the cluster config if its nodes have "
        "some all the same"
    )


def test_whole_nodes_where_slurm_knows_of_other_gpus():
    """Only if the config says so: more GPUs than Slurm has are a mistake otherwise."""
    assert refusal(partition="cpu", gpus_per_node=3) == (
        "c.yaml: gpus_per_node: found 3; must be at most 0, as nodes of partition cpu have; where "
        "Slurm does not know of its GPUs, set gpu_request: none"
    )
    target = resolve(partition="cpu", gpus_per_node=3, gpu_request="none")
    assert (target.shape.gpus, target.gpu_request) == (3, "none")


def test_how_memory_is_asked_for():
    """Per node, unless the config says otherwise, or asks for it by itself."""
    assert resolve().memory == "per-node"
    assert resolve(memory="per-cpu").memory == "per-cpu"
    assert resolve(attrs.evolve(SITE, tracks_memory=False)).memory == "none"
    own = resolve(sbatch={"mem_per_cpu": "4G"})
    assert (own.memory, own.sources["memory"]) == (
        "none",
        "c.yaml: sbatch.mem_per_cpu asks for it",
    )


def test_memory_per_gpu_where_none_is_asked_for():
    """Whole nodes of which Slurm knows no GPUs."""
    assert refusal(site=WHOLE_NODES, gpus_per_node=4, memory="per-gpu") == (
        "c.yaml: memory: gpu_request: none asks for no GPUs that memory could be for; remove one"
    )


def test_a_list_of_nodes_is_no_choice_among_them():
    """Slurm gives a job all of them: the error says what does."""
    with pytest.raises(LauncherError) as caught:
        resolve(partition="gpu", nodelist="n[1-3]", nodes=2)

    assert str(caught.value) == (
        "c.yaml: nodelist: found n[1-3], 3 nodes, and a job has 2; Slurm gives each job all of "
        "them: name at most 2, set nodes: 3, or exclude the others instead"
    )
    assert resolve(partition="gpu", nodelist="n[1-2]", nodes=2).nodelist == "n[1-2]"
    wide = attrs.evolve(run(), nodes=3)
    assert resolve(partition="gpu", nodelist="n[1-3]", demands=[wide]).nodelist == "n[1-3]"
    assert "and a job has 1" in refusal(partition="gpu", nodelist="n[1-3]", demands=[wide, run()])


def test_nodes_to_exclude():
    """The command line's, in place of the config's."""
    assert resolve(exclude="n[1-3]").exclude == "n[1-3]"
    assert resolve(exclude="n[1-3]", given={"exclude": "n7"}).exclude == "n7"

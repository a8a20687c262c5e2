"""What sbatch is asked for, as text of its options."""

import attrs
import pytest

from launcher.packing.packing import PlannedPack
from launcher.submission.sbatch_options import sbatch_options
from tests.launcher.clusters.test_slurm_gpus import MIXED, PLAIN, WHOLE_NODES
from tests.launcher.clusters.test_slurm_target import resolve

PLAN = PlannedPack(
    members=(), num_nodes=1, gpus_per_node=2, cpus_per_node=3, memory_gb_per_node=4.0, time_s=3600
)


def asked(site=PLAIN, *, plan=PLAN, given=None, **fields):
    return sbatch_options(plan, resolve(site, given=given, **fields))


def test_by_default():
    """GPUs per node, and memory per node; no type, no key, no comment."""
    assert asked() == {"gpus-per-node": "2", "mem": "4096M"}


@pytest.mark.parametrize(
    ("site", "fields", "options"),
    [
        (MIXED, {}, {"gpus-per-node": "v100:2"}),
        (MIXED, {"gpu_request": "gres"}, {"gres": "gpu:v100:2"}),
        (PLAIN, {"gpu_request": "gres"}, {"gres": "gpu:2"}),
        (
            PLAIN,
            {"gpu_request": "gres", "sbatch": {"gres": "lscratch:100"}},
            {"gres": "lscratch:100,gpu:2"},
        ),
        (
            PLAIN,
            {"sbatch": {"gres": "lscratch:100"}},
            {"gres": "lscratch:100", "gpus-per-node": "2"},
        ),
        (WHOLE_NODES, {"gpus_per_node": 3}, {"exclusive": True}),
        (PLAIN, {"gpu_request": "none"}, {"exclusive": True}),
        (
            PLAIN,
            {"gpu_request": "none", "sbatch": {"exclusive": "user"}},
            {"exclusive": "user"},
        ),
    ],
)
def test_gpus(site, fields, options):
    """By the option that the site takes, with a type where there are several, or not at all."""
    assert asked(site, memory="none", **fields) == options


def test_jobs_without_gpus_ask_for_none():
    """Nor for a node of their own."""
    plan = attrs.evolve(PLAN, gpus_per_node=0)

    assert asked(MIXED, plan=plan, memory="none", gpu_request="gres") == {}
    assert asked(PLAIN, plan=plan, memory="none", gpu_request="none") == {}


@pytest.mark.parametrize(
    ("memory", "options"),
    [
        ("per-node", {"mem": "4096M"}),
        ("per-cpu", {"mem-per-cpu": "1366M"}),
        ("per-gpu", {"mem-per-gpu": "2048M"}),
        ("none", {}),
    ],
)
def test_memory(memory, options):
    """Enough for what the runs need, rounded up."""
    assert asked(memory=memory) == {"gpus-per-node": "2", **options}


def test_memory_per_gpu_of_a_job_without_gpus():
    """Is asked for per node."""
    plan = attrs.evolve(PLAN, gpus_per_node=0)

    assert asked(plan=plan, memory="per-gpu") == {"mem": "4096M"}


def test_memory_that_the_config_asks_for_itself():
    """Its option is the only one."""
    assert asked(sbatch={"mem_per_cpu": "4G"}) == {"mem-per-cpu": "4G", "gpus-per-node": "2"}
    assert asked(sbatch={"mem": 0}) == {"mem": 0, "gpus-per-node": "2"}


def test_fields_that_sbatch_takes_as_they_are():
    """The command line goes before the config, in whichever way that says it."""
    fields = {"comment": "a b", "reservation": "lab", "wckey": "key", "nodelist": "n1"}

    found = asked(memory="none", gpu_request="gres", exclude="n[2-3]", **fields)
    other = asked(memory="none", sbatch={"exclude": "n2", "nice": 5}, given={"exclude": "n7"})

    assert found == {**fields, "exclude": "n[2-3]", "gres": "gpu:2"}
    assert other == {"exclude": "n7", "nice": 5, "gpus-per-node": "2"}

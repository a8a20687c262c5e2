"""How jobs are split into arrays."""

import attrs
import pytest

from launcher.packing.packing import PlannedPack
from launcher.submission.job_arrays import arrays_of, running_shares
from tests.launcher.clusters.test_slurm_target import resolve

PLAN = PlannedPack(
    members=(), num_nodes=1, gpus_per_node=1, cpus_per_node=4, memory_gb_per_node=8.0, time_s=3600
)


def plans(*gpus):
    return [(None, attrs.evolve(PLAN, gpus_per_node=number)) for number in gpus]


def test_alike_jobs_share_an_array():
    """As far as an array may be that long."""
    target = resolve(max_array_size=2)

    arrays = arrays_of(plans(1, 2, 1, 1), target)

    found = [[plan.gpus_per_node for _, plan in array.packs] for array in arrays]
    assert found == [[1, 1], [1], [2]]
    assert {(array.at_once, array.after) for array in arrays} == {(None, None)}


@pytest.mark.parametrize(
    ("sizes", "most", "shares"),
    [([10], 3, [3]), ([10, 1], 3, [2, 1]), ([4, 4], 5, [3, 2]), ([1, 1, 1], 2, [1, 1, 1])],
)
def test_the_running_jobs_of_all_arrays_together(sizes, most, shares):
    """Each array has a part of what may run at once."""
    assert running_shares(sizes, most) == shares


def test_more_arrays_than_jobs_may_run_at_once():
    """Later arrays wait for earlier ones."""
    arrays = arrays_of(plans(1, 2, 3, 4, 4), resolve(max_running=2))
    parameters = {"array_parallelism": 2, "additional_parameters": {"requeue": True}}

    assert [(array.at_once, array.after) for array in arrays] == [
        (1, None),
        (1, None),
        (1, 0),
        (1, 1),
    ]
    assert arrays[0].throttled(parameters, []) == {**parameters, "array_parallelism": 1}
    assert arrays[3].throttled(parameters, ["7_0", "8", "9"])["additional_parameters"] == {
        "requeue": True,
        "dependency": "afterany:8",
    }

"""How many jobs may still be submitted."""

import pytest

from launcher.clusters.slurm_limits import SubmitLimit
from launcher.clusters.submission_target import jobs_left
from launcher.errors import LauncherError
from launcher.slurm.jobs import QueuedJob
from tests.launcher.clusters.test_slurm_target import ACCOUNTED, resolve


def jobs(number, partition="gpu", account="lab", qos="low"):
    job = QueuedJob(
        state="PENDING",
        reason=None,
        partition=partition,
        nodes=(),
        time_left_s=None,
        restarts=0,
        start_estimate=None,
        account=account,
        qos=qos,
    )
    return [job] * number


@pytest.mark.parametrize(
    ("limit", "left"),
    [
        ({}, 65),
        ({"partition": "gpu"}, 95),
        ({"partition": "cpu"}, 70),
        ({"qos": "low"}, 75),
        ({"account": "lab"}, 90),
        ({"account": "lab", "partition": "cpu"}, 95),
    ],
)
def test_only_jobs_count_that_the_limit_is_about(limit, left):
    """Those of a partition, a QOS or an account; of several partitions, in each of them."""
    queue = [
        *jobs(5),
        *jobs(20, "cpu", "other"),
        *jobs(5, "cpu", qos="high"),
        *jobs(5, "cpu,fast", "other", "high"),
    ]

    assert jobs_left([SubmitLimit(most=100, source="QOS x", **limit)], queue) == left


def test_too_many_jobs():
    """The error says which ones count, and whose limit it is; of several, the tightest decides."""
    low = SubmitLimit(most=50, source="QOS low", qos="low")
    gpu = SubmitLimit(most=20, source="c.yaml", partition="gpu")

    assert jobs_left([low, gpu], jobs(15)) == 5
    with pytest.raises(LauncherError) as caught:
        jobs_left([low, gpu], jobs(20))
    assert str(caught.value) == (
        "20 jobs are in the queue in partition gpu, and the limit is 20 (c.yaml); wait for some to "
        "end, or cancel some"
    )


def test_which_jobs_count():
    """By Slurm those of the QOS; by the config those of the partition."""
    assert resolve(ACCOUNTED, partition="gpu").submit_limits == (
        SubmitLimit(most=50, source="QOS low", qos="low"),
    )
    assert resolve(ACCOUNTED, partition="gpu", max_submit_jobs=7).submit_limits == (
        SubmitLimit(most=7, source="c.yaml", partition="gpu"),
    )

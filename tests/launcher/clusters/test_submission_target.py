"""How many jobs may still be submitted."""

import attrs
import pytest

from launcher.clusters import slurm_target
from launcher.clusters.cluster_search import open_cluster
from launcher.clusters.slurm_limits import SubmitLimit
from launcher.clusters.slurm_target import resolve_target
from launcher.clusters.submission_target import SlurmOptions, choose_target, jobs_left
from launcher.errors import LauncherError
from launcher.slurm import client
from launcher.slurm.jobs import QueuedJob
from tests.launcher.clusters.test_slurm_target import ACCOUNTED, SITE, group, partition, resolve


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    """A cluster of two partitions, of which the default one has the fewer GPUs."""
    small = partition("small", group(1, 8, 32, 9), is_default=True)
    large = partition("large", group(8, 64, 256, 9))
    site = attrs.evolve(SITE, partitions=(small, large))
    monkeypatch.setattr(client, "ask_site", lambda: site)
    config = tmp_path / "c.yaml"
    config.write_text("kind: slurm\ndescription: d\n")
    return open_cluster(str(config))


def test_other_partitions_are_looked_at_only_for_advice(cluster, monkeypatch):
    """Where there are many, and many runs, it takes seconds."""
    resolved = []

    def resolve_and_note(*given, partition=None, **options):
        resolved.append(partition)
        return resolve_target(*given, partition=partition, **options)

    monkeypatch.setattr(slurm_target, "resolve_target", resolve_and_note)

    choice = choose_target(cluster, [], SlurmOptions(), {})

    assert resolved == []
    assert set(choice.elsewhere()) == {"large"}
    assert resolved == ["large"]


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

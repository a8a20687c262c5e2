"""What the launcher asks of Slurm, and what it understands of the answers."""

from __future__ import annotations

import time

import pytest

from launcher.clusters.cluster_report import report_cluster, report_json, report_text
from launcher.clusters.cluster_search import open_cluster
from launcher.clusters.slurm_cluster_config import SlurmClusterConfig
from launcher.clusters.slurm_target import resolve_target
from launcher.errors import SlurmError
from launcher.packing.demand import NodeShape
from launcher.slurm import client
from scripts.slurm_sandbox.sandbox import Sandbox

pytestmark = pytest.mark.slurm

STUBBORN = "trap 'sleep 2; exit 0' TERM; while true; do sleep 0.1; done"
"""A job that takes a while to go."""


def test_facts_about_the_cluster(sandbox: Sandbox) -> None:
    """Partitions with their nodes, and the limits of the user."""
    sandbox.configure()
    site = client.ask_site()

    assert site.version == sandbox.run("scontrol", "--version").split()[-1]
    assert (site.accounting, site.preempt_by) == (True, "partition_prio")
    assert site.send_user_signal and site.job_requeue
    default = next(partition for partition in site.partitions if partition.is_default)
    (group,) = default.groups
    assert (default.name, default.is_up, default.max_time_s) == ("preemptible", True, None)
    assert group.shape == NodeShape(gpus=4, cpus=16, memory_gb=62.5)
    assert (group.num_nodes, group.num_unusable) == (4, 0)
    assert {"normal", "low", "high"} <= {qos.name for qos in site.qoses}
    assert site.default_account in {each.account for each in site.associations}
    assert [each.name for each in site.accounts_above(site.default_account)] == ["root"]
    assert site.user is not None and site.user.is_root
    assert (site.tracks_memory, site.suspends, site.enforces_associations) == (True, False, True)
    assert not any(site.refusal(each, account=None, qos=None) for each in site.partitions)


def test_a_drained_node_is_counted_apart(sandbox: Sandbox) -> None:
    """It is still one of the partition's nodes."""
    sandbox.configure()
    sandbox.run("scontrol", "update", "nodename=n4", "state=drain", "reason=test")
    try:
        (group,) = client.ask_site().partitions[0].groups
    finally:
        sandbox.run("scontrol", "update", "nodename=n4", "state=resume")

    assert (group.num_nodes, group.num_unusable) == (4, 1)


def test_a_cluster_without_accounting(sandbox: Sandbox) -> None:
    """The site says so, and no job has a record; the queue and the controller still answer."""
    sandbox.configure(accounting=False)
    job = sandbox.submit("true", "--hold")

    site = client.ask_site()

    assert (site.accounting, site.qoses, site.associations) == (False, (), ())
    assert client.job_records([job]) == {}
    assert client.queued_jobs()[job].reason == "JobHeldUser"


def test_the_queue_has_the_tasks_of_arrays_one_by_one(sandbox: Sandbox) -> None:
    """Those that wait, and those that run."""
    sandbox.configure()
    array = sandbox.submit("sleep 60", "--array=0-3%1", "--mem=50", "--time=5")
    sandbox.wait_for(lambda: client.queued_jobs()[f"{array}_0"].state == "RUNNING")

    jobs = client.queued_jobs()

    assert set(jobs) == {f"{array}_{task}" for task in range(4)}
    runs, waits = jobs[f"{array}_0"], jobs[f"{array}_3"]
    assert (len(runs.nodes), runs.reason, runs.restarts) == (1, None, 0)
    assert runs.time_left_s is not None and 0 < runs.time_left_s <= 300
    assert runs.start_estimate is not None and abs(runs.start_estimate - time.time()) < 120
    assert (waits.state, waits.reason, waits.nodes) == ("PENDING", "JobArrayTaskLimit", ())


def test_requeueing(sandbox: Sandbox) -> None:
    """A job that is on its way back already, or waits, is no failure."""
    sandbox.configure()
    job = sandbox.submit(STUBBORN, "--mem=50")
    sandbox.wait_for(lambda: sandbox.state(job) == "RUNNING")

    client.requeue(job)
    client.requeue(job)  # while it goes
    sandbox.wait_for(lambda: sandbox.state(job) == "PENDING")
    client.requeue(job)

    details = client.job_details(job)
    assert details is not None
    assert (details.state, details.restarts, details.may_requeue) == ("PENDING", 1, True)


def test_one_task_of_an_array_is_requeued(sandbox: Sandbox) -> None:
    """The others stay what they were."""
    sandbox.configure()
    array = sandbox.submit(STUBBORN, "--array=0-1", "--mem=50")
    tasks = [f"{array}_0", f"{array}_1"]
    sandbox.wait_for(lambda: [sandbox.state(task) for task in tasks] == ["RUNNING"] * 2)

    client.requeue(tasks[1])
    sandbox.wait_for(lambda: sandbox.state(tasks[1]) == "PENDING")

    jobs = client.queued_jobs()
    assert [jobs[task].restarts for task in tasks] == [0, 1]
    assert jobs[tasks[0]].state == "RUNNING"


@pytest.mark.parametrize("options", [["--no-requeue"], None])
def test_a_requeue_that_is_refused(sandbox: Sandbox, options: list[str] | None) -> None:
    """The error has Slurm's words."""
    sandbox.configure()
    job = "999999"
    if options:
        job = sandbox.submit("sleep 60", "--mem=50", *options)
        sandbox.wait_for(lambda: sandbox.state(job) == "RUNNING")

    with pytest.raises(SlurmError) as caught:
        client.requeue(job)

    assert ("disabled" if options else "Invalid job id") in caught.value.output


def test_records_of_all_attempts(sandbox: Sandbox) -> None:
    """sacct keeps an attempt that ended in a requeue; tasks that wait have records too."""
    sandbox.configure()
    array = sandbox.submit("sleep 60", "--array=0-2%1", "--mem=50")
    first, last = f"{array}_0", f"{array}_2"
    sandbox.wait_for(lambda: sandbox.state(first) == "RUNNING")
    client.requeue(first)
    sandbox.wait_for(lambda: sandbox.state(first) == "PENDING")
    client.cancel([first])

    def ended() -> bool:
        records = client.job_records([first]).get(first, [])
        return [record.state for record in records] == ["REQUEUED", "CANCELLED"]

    sandbox.wait_for(ended)
    records = client.job_records([first, last, "999999"])
    assert set(records) == {first, last}
    assert len(records[first][0].nodes) == 1
    assert records[first][0].start is not None and records[first][0].end is not None


def test_a_preempted_job_says_so(sandbox: Sandbox) -> None:
    """While it has its grace, the controller knows since when."""
    sandbox.configure(grace=30)
    job = sandbox.submit(f"srun bash -c {STUBBORN!r}", "--mem=50")
    sandbox.wait_for(lambda: sandbox.state(job) == "RUNNING")

    sandbox.preempt(job)

    def preempt_time() -> float | None:
        details = client.job_details(job)
        return details.preempt_time if details else None

    since = sandbox.wait_for(preempt_time)
    assert since is not None and abs(since - time.time()) < 60


def test_cancelling(sandbox: Sandbox) -> None:
    """Jobs that have ended, or that never were, are left alone."""
    sandbox.configure()
    jobs = [sandbox.submit("sleep 60", "--mem=50") for _ in range(2)]

    client.cancel([*jobs, "999999"])
    sandbox.wait_for(lambda: not client.queued_jobs())
    client.cancel(jobs)

    assert client.job_details(jobs[0]).state == "CANCELLED"
    assert client.job_details("999999") is None


def test_what_the_environment_says_does_not_count(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The user's settings for squeue and sacct change neither what is asked nor how it looks."""
    sandbox.configure()
    job = sandbox.submit("true", "--hold")
    for name, value in {
        "SQUEUE_FORMAT": "%i",
        "SQUEUE_STATES": "RUNNING",
        "SQUEUE_PARTITION": "priority",
        "SACCT_FORMAT": "User",
        "SLURM_TIME_FORMAT": "relative",
    }.items():
        monkeypatch.setenv(name, value)

    assert set(client.queued_jobs()) == {job}


def test_a_cluster_that_slurm_describes(sandbox: Sandbox) -> None:
    """Without a word in the config, everything is known."""
    sandbox.configure(grace=8)
    config = SlurmClusterConfig(kind="slurm", description="d")

    target = resolve_target(config, client.ask_site(), config_source="c.yaml")

    assert (target.partition, target.shape.gpus, target.max_nodes) == ("preemptible", 4, 4)
    assert (target.grace_s, target.requeue, target.accounting) == (8, "scontrol", True)
    assert target.max_array_size > 1


def test_several_partitions_as_slurm_takes_them(sandbox: Sandbox) -> None:
    """A job in any of them has one shape; what it asks for and who pays can be read."""
    sandbox.configure()
    config = SlurmClusterConfig(kind="slurm", description="d", partition="preemptible,nograce")

    target = resolve_target(config, client.ask_site(), config_source="c.yaml")
    job = sandbox.submit("true", f"--partition={target.partition}", "--hold", "--mem=50")

    assert (target.shape.gpus, target.max_nodes) == (4, 4)
    assert client.queued_jobs()[job].partition == target.partition
    details = client.job_details(job)
    assert details is not None
    assert (details.asked.nodes, details.account) == (1, client.ask_site().default_account)


def test_a_cluster_that_preempts_by_qos(sandbox: Sandbox) -> None:
    """The grace is that of the job's QOS."""
    sandbox.configure(preempt_by="qos", grace=9)
    config = SlurmClusterConfig(kind="slurm", description="d", partition="nograce")

    site = client.ask_site()
    target = resolve_target(config, site, config_source="c.yaml", qos="low")

    assert site.preempt_by == "qos"
    assert (target.grace_s, target.sources["grace_s"]) == (9, "Slurm: GraceTime of QOS low")


def test_a_cluster_is_explained(sandbox: Sandbox) -> None:
    """All values with where they come from, and the partitions."""
    sandbox.configure(grace=8)
    report = report_cluster(open_cluster("slurm"), client.ask_site)

    text = report_text(report)
    assert report.problem is None
    assert "Slurm: GraceTime of partition preemptible" in text
    assert "preemptible (default)  4      4     16    62.5 GB  no limit     8 s    1" in text
    data = report_json(report)
    assert data["site"]["partitions"][0]["groups"][0]["features"] == []

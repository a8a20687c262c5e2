"""What Slurm's reasons for waiting mean."""

import pytest

from launcher.explain.pending_reasons import pending_reason

LESS = "`launch cancel` its runs, then submit them again with"


@pytest.mark.parametrize(
    ("word", "meaning", "advice", "ends_by_itself"),
    [
        ("Resources", "it is next in line, and nodes are not free yet", "wait; a job", True),
        ("Dependency", "another job has to end first", "wait for that job", True),
        ("BeginTime", "it may not begin before a set time; after a requeue", "wait", True),
        ("JobArrayTaskLimit", "as many jobs of its array run as may", "wait, or raise max_", True),
        (
            "JobHeldAdmin",
            "an administrator, or Slurm itself",
            "`scontrol release 7` releases",
            False,
        ),
        ("launch failed requeued held", "a node could not start it", "`scontrol release 7`", False),
        ("launch_failed_requeued_held", "a node could not start it", "`scontrol release 7`", False),
        ("ReqNodeNotAvail, UnavailableNodes:n[1-2]", "nodes that it needs are", "see `sinfo", True),
        (
            "Nodes_required_for_job_are_DOWN,_DRAINED_or_reserved_for_jobs_in_higher_priority"
            "_partitions",
            "nodes that it needs are down, drained, or kept for other partitions",
            "see `sinfo -R`",
            True,
        ),
        ("PartitionTimeLimit", "it asks for more time", f"{LESS} a shorter --time", False),
        ("QOSMaxJobsPerUserLimit", "its QOS gives you no more running jobs", "wait until", True),
        ("QOSMaxGRESPerUser", "its QOS gives you no more GPUs for now", "wait until", True),
        ("QOSMaxCpuPerJobLimit", "it asks for more cores than its QOS", f"{LESS} less", False),
        ("AssocGrpCpuLimit", "its account gives all its users together no", "wait until", True),
        ("AssocGrpGRES", "its account gives all its users together no more GPUs", "wait", True),
        ("AssocMaxWallDurationPerJobLimit", "it asks for more time than its", LESS, False),
        ("AssociationJobLimit", "its account gives you no more running jobs", "wait until", True),
        ("Moonphase", "an unknown reason", "see `scontrol show job 7`", True),
        (None, "Slurm has not considered it yet", "wait", True),
    ],
)
def test_why_a_job_waits(word, meaning, advice, ends_by_itself):
    """Slurm's words in plain ones, and what to do if waiting is not enough."""
    found = pending_reason(word, "7")

    assert found.meaning.startswith(meaning)
    assert found.advice.startswith(advice)
    assert found.ends_by_itself == ends_by_itself

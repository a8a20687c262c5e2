"""What Slurm's reasons for waiting mean."""

import pytest

from launcher.explain.pending_reasons import is_limit, pending_reason

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
        ("QOSMaxGRESPerJob", "it asks for more GPUs than its QOS", f"{LESS} less", False),
        ("AssocMaxGRESPerJob", "it asks for more GPUs than its account", f"{LESS} less", False),
        ("QOSMaxGRESMinutesPerJob", "it asks for more time than its QOS", f"{LESS} less", False),
        ("AssocMaxCpuPerNode", "it asks for more cores than its account", f"{LESS} less", False),
        ("QOSMinGRES", "it asks for fewer GPUs than its QOS allows", f"{LESS} more", False),
        ("QOSMinCpuNotSatisfied", "it asks for fewer cores than its QOS", f"{LESS} more", False),
        ("MaxGRESPerAccount", "its QOS gives its account no more GPUs", "wait until", True),
        ("MaxJobsPerAccount", "its QOS gives its account no more running", "wait until", True),
        ("AssocGrpGRESMinutes", "its account has used up the time", "ask an admin", False),
        ("QOSGrpWallLimit", "its QOS has used up the time", "ask an admin", False),
        ("QOSGrpGRESRunMinutes", "its QOS gives all its users together no", "wait until", True),
        ("MaxMemPerLimit", "it asks for more memory than its partition", LESS, False),
        ("PartitionNodeLimit", "it asks for more nodes than its partition", LESS, False),
        ("QOSUsageThreshold", "its QOS wants users who have used less", LESS, False),
        ("AccountingPolicy", "its QOS or account does not allow it", "see `scontrol", False),
        ("ReservationInvalid", "its reservation is not known", LESS, False),
        ("ReqNodeNotAvail(Unavailable:n1)", "nodes that it needs are", "see `sinfo", True),
        ("NonZeroExitCode", "Slurm has not considered it since its last start", "wait", True),
        ("FedJobLock", "another cluster of the federation", "wait", True),
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


def test_a_job_that_asks_for_more_than_a_limit():
    """Waiting does not help it, whatever the reason alone seems to say."""
    exceeded = ["it asks for 4 GPUs, and QOS normal (MaxTRESPerUser) gives a job at most 2"]

    found = pending_reason("QOSMaxGRESPerUser", "7", exceeded)

    assert not found.ends_by_itself
    assert found.meaning == (
        "it can never start: it asks for 4 GPUs, and QOS normal (MaxTRESPerUser) gives a job at "
        "most 2"
    )
    assert found.advice.startswith(f"{LESS} the same command")


@pytest.mark.parametrize(
    ("word", "found"),
    [
        ("QOSMaxGRESPerUser", True),
        ("AssocGrpGRES", True),
        ("MaxGRESPerAccount", True),
        ("QOSNotAllowed", False),
        ("Priority", False),
        (None, False),
    ],
)
def test_which_reasons_are_limits(word, found):
    """Only for those Slurm is asked what the limit is."""
    assert is_limit(word) == found

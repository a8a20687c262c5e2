"""The node of a Slurm job, read from the environment variables that Slurm sets."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping

from attrs import frozen

from launcher.job.gpu_driver import allocated_gpus
from launcher.job.machine import Machine
from launcher.job.pack import SlurmTerms
from launcher.slurm.parsing import expand_hosts

_STARTS_PER_JOB = 1_000_000
"""More than the restarts of any one job, so that starts of a resubmitted pack count on."""


@frozen(kw_only=True)
class ThisNode:
    """One node of a job, in one start of that job."""

    index: int = 0
    name: str
    job_nodes: tuple[str, ...] = ()
    """The names of all nodes of the job; unknown outside of Slurm."""
    job: str
    """The job id that the scheduler accepts."""
    restarts: int = 0
    """How often Slurm has restarted this job."""
    start: int = 0
    """Counts the starts of the pack over all of its jobs: the later one wins a lease."""


def this_slurm_node(environment: Mapping[str, str], *, resubmissions: int) -> ThisNode:
    """Return the node that this task runs on.

    Args:
        resubmissions: How often the pack was submitted as a new job.
    """
    # Unset in the first start of a job.
    restarts = int(environment.get("SLURM_RESTART_COUNT") or 0)
    return ThisNode(
        index=int(environment.get("SLURM_NODEID") or 0),
        name=environment.get("SLURMD_NODENAME") or socket.gethostname(),
        job_nodes=tuple(expand_hosts(environment.get("SLURM_JOB_NODELIST") or "")),
        job=job_id(environment),
        restarts=restarts,
        start=resubmissions * _STARTS_PER_JOB + restarts,
    )


def job_id(environment: Mapping[str, str]) -> str:
    """Return the job id, as `ARRAY_TASK` for a task of an array.

    `scontrol requeue` with the bare number would requeue the whole array.
    """
    array, task = environment.get("SLURM_ARRAY_JOB_ID"), environment.get("SLURM_ARRAY_TASK_ID")
    return f"{array}_{task}" if array else environment["SLURM_JOB_ID"]


def allocated_machine(environment: Mapping[str, str], terms: SlurmTerms) -> Machine:
    """Return the GPUs, cores and memory that Slurm has allocated to the job on this node.

    Where Slurm does not confine jobs to cores (no cgroups or `task/affinity`), the affinity shows
    the whole node, and other jobs run on it: cores are then counted, but runs are not pinned.
    """
    affinity = tuple(sorted(os.sched_getaffinity(0)))
    count = int(environment.get("SLURM_CPUS_ON_NODE") or len(affinity))
    is_pinned = len(affinity) == count
    found = allocated_gpus(environment, has_whole_nodes=terms.has_whole_nodes)
    memory_mb = _memory_mb(environment, num_cpus=count, num_gpus=len(found.names))
    return Machine(
        gpus=found.names,
        gpu_variable=found.variable,
        shares_gpus=found.can_be_shared,
        cores=affinity if is_pinned else tuple(range(count)),
        memory_gb=memory_mb / 1024 if memory_mb and terms.divides_memory else None,
        is_pinned=is_pinned,
        owes_gpus=True,
    )


def _memory_mb(environment: Mapping[str, str], *, num_cpus: int, num_gpus: int) -> int:
    """Return the memory of the job on this node, as it was asked for; 0 if that is not known."""
    per_node, per_cpu, per_gpu = (
        int(environment.get(f"SLURM_MEM_PER_{unit}") or 0) for unit in ("NODE", "CPU", "GPU")
    )
    return per_node or per_cpu * num_cpus or per_gpu * num_gpus

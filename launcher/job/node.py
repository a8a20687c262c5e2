"""The node of a Slurm job, read from the environment variables that Slurm sets."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping

from attrs import frozen

from launcher.job.machine import Machine, nvidia_smi, visible_gpus
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


def allocated_machine(environment: Mapping[str, str]) -> Machine:
    """Return the GPUs, cores and memory that Slurm has allocated to the job on this node.

    Where Slurm does not confine jobs to cores (no cgroups or `task/affinity`), the affinity shows
    the whole node, and other jobs run on it: cores are then counted, but runs are not pinned.
    """
    affinity = tuple(sorted(os.sched_getaffinity(0)))
    count = int(environment.get("SLURM_CPUS_ON_NODE") or len(affinity))
    is_pinned = len(affinity) == count
    memory_mb = environment.get("SLURM_MEM_PER_NODE")
    return Machine(
        gpus=_allocated_gpus(environment),
        cores=affinity if is_pinned else tuple(range(count)),
        memory_gb=int(memory_mb) / 1024 if memory_mb else None,
        is_pinned=is_pinned,
        owes_gpus=True,
    )


def _allocated_gpus(environment: Mapping[str, str]) -> tuple[str, ...]:
    """Return UUIDs if the driver lists them, else the names that Slurm uses."""
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    if not visible:
        return ()
    return visible_gpus(nvidia_smi(), visible) or tuple(visible.split(","))

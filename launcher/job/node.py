"""What a job of Slurm finds on a node: read from the environment that Slurm sets."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping

from attrs import frozen

from launcher.job.machine import Machine, nvidia_smi, visible_gpus


@frozen(kw_only=True)
class ThisNode:
    """One node of a job, in one of its starts."""

    index: int = 0
    name: str
    job: str
    """As the scheduler calls it."""
    restarts: int = 0
    """Of this job."""
    start: int = 0
    """Counts the starts of the pack, whichever job it was in."""


_RESUBMISSION = 1_000_000
"""More than the restarts of any one job."""


def this_slurm_node(environment: Mapping[str, str], *, resubmissions: int) -> ThisNode:
    """The node of this task.

    Args:
        resubmissions: How often the pack has gone into a new job: starts go on counting.
    """
    restarts = int(environment.get("SLURM_RESTART_COUNT") or 0)
    return ThisNode(
        index=int(environment.get("SLURM_NODEID") or 0),
        name=environment.get("SLURMD_NODENAME") or socket.gethostname(),
        job=job_id(environment),
        restarts=restarts,
        start=resubmissions * _RESUBMISSION + restarts,
    )


def job_id(environment: Mapping[str, str]) -> str:
    """As requeueing needs it: `ARRAY_TASK` for a task of an array."""
    array, task = environment.get("SLURM_ARRAY_JOB_ID"), environment.get("SLURM_ARRAY_TASK_ID")
    return f"{array}_{task}" if array else environment["SLURM_JOB_ID"]


def allocated_machine(environment: Mapping[str, str]) -> Machine:
    """The GPUs, cores and memory that Slurm gave to the job on this node.

    Where Slurm does not confine its jobs to their cores, the cores are counted, not chosen.
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
    )


def _allocated_gpus(environment: Mapping[str, str]) -> tuple[str, ...]:
    """By UUID where the driver tells them, else as Slurm names them."""
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    if not visible:
        return ()
    return visible_gpus(nvidia_smi(), visible) or tuple(visible.split(","))

"""Which variables of the surrounding shell reach Slurm's commands, the jobs, and the runs.

What a job is follows from the experiment and the cluster config, not from where it was submitted:
in another job, under torchrun, from cron, or in a shell whose profile sets SBATCH_*.
"""

from __future__ import annotations

from collections.abc import Mapping

_OF_SLURM = (
    "SACCTMGR_",
    "SACCT_",
    "SALLOC_",
    "SBATCH_",
    "SCANCEL_",
    "SCONTROL_",
    "SINFO_",
    "SLURM",
    "SQUEUE_",
    "SRUN_",
)
"""Prefixes of what changes a command of Slurm, or describes the job that this process belongs to:
SBATCH_WAIT keeps sbatch from returning, SCANCEL_STATE spares jobs, SQUEUE_FORMAT and
SLURM_TIME_FORMAT change what is printed, SLURM_MEM_PER_CPU and SLURM_CPU_BIND are options of the
`srun` in the job."""
_CLUSTER = ("SLURM_CLUSTERS", "SLURM_CONF", "SLURM_CONF_SERVER", "SLURM_JWT")
"""Which cluster, and the right to use it: all commands heed these alike, so that jobs are looked
for where they were submitted. SBATCH_CLUSTERS, which sbatch alone heeds, is not among them."""
_OF_GPUS = (
    "CUDA_VISIBLE_DEVICES",
    "GPU_DEVICE_ORDINAL",
    "HIP_VISIBLE_DEVICES",
    "ROCR_VISIBLE_DEVICES",
    "ZE_AFFINITY_MASK",
)
"""The GPUs of this process, on this machine: Slurm says on each node which ones a job has."""
_OF_RANKS = frozenset(
    (
        "GROUP_RANK",
        "GROUP_WORLD_SIZE",
        "LOCAL_RANK",
        "LOCAL_WORLD_SIZE",
        "MASTER_ADDR",
        "MASTER_PORT",
        "NODE_RANK",
        "RANK",
        "ROLE_NAME",
        "ROLE_RANK",
        "ROLE_WORLD_SIZE",
        "WORLD_SIZE",
    )
)
_OF_LAUNCHERS = ("MPI_LOCAL", "MV2_COMM_WORLD_", "OMPI_", "PMI", "TORCHELASTIC_")
"""With `_OF_RANKS`, what torchrun, mpirun and srun tell their processes about each other. A run is
told its ranks by its supervisor; a run of one process waits for nobody."""


def for_slurm(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables for a command of Slurm; `sbatch` hands them on to the job."""
    return {
        name: value
        for name, value in environment.items()
        if not (name.startswith(_OF_SLURM) and name not in _CLUSTER)
        and name not in _OF_GPUS
        and not _is_of_ranks(name)
    }


def for_run(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables for a run, or for the supervisor of runs on this machine."""
    return {name: value for name, value in environment.items() if not _is_of_ranks(name)}


def _is_of_ranks(name: str) -> bool:
    return name in _OF_RANKS or name.startswith(_OF_LAUNCHERS)

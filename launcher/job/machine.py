"""The GPUs, cores and memory of one machine that runs may use."""

from __future__ import annotations

import os

from attrs import frozen

from launcher.job.gpu_driver import CUDA, listed_gpus
from launcher.job.memory import machine_memory_gb


@frozen(kw_only=True)
class Machine:
    """GPUs by UUID, CPU cores by number, and memory."""

    gpus: tuple[str, ...] = ()
    gpu_variable: str = CUDA
    """By which a run is given some of them."""
    shares_gpus: bool = True
    """Whether several runs may use one GPU; else a share is all of it."""
    cores: tuple[int, ...]
    memory_gb: float | None = None
    """None: memory is not divided among runs; the operating system hands it out."""
    is_pinned: bool = True
    """Whether `cores` are real core numbers to pin runs to; else only their count matters."""
    owes_gpus: bool = False
    """Whether a run that asks for GPUs must get them, as in a Slurm job that has asked for them;
    else it uses the CPU where there are none."""

    def max_runs(self, *, gpus: float, cpus: int, memory_gb: float = 0.0) -> int:
        """Return how many runs of this size can run at once, by GPUs, cores and memory.

        A run that asks for more cores or memory than the machine has gets the machine to itself.

        Args:
            gpus: Per run; below 1, a share of one GPU.
        """
        by_host = max(1, len(self.cores) // cpus)
        if self.memory_gb is not None and memory_gb > 0:
            by_host = min(by_host, max(1, int((self.memory_gb + 1e-6) / memory_gb)))
        if not self.uses_gpus(gpus):
            return by_host
        if gpus < 1:
            by_gpus = len(self.gpus) * (int(1 / gpus) if self.shares_gpus else 1)
        else:
            by_gpus = int(len(self.gpus) // gpus)
        return min(by_gpus, by_host)

    def uses_gpus(self, gpus: float) -> bool:
        """Return whether a run that asks for this many GPUs gets any; else it uses the CPU."""
        return gpus > 0 and len(self.gpus) > 0

    def cores_beside(self, gpu: str) -> tuple[int, ...]:
        """Return the GPU's equal share of the cores, as a contiguous range.

        Cores with neighboring numbers usually share caches and a NUMA node.
        """
        share = len(self.cores) // len(self.gpus)
        first = self.gpus.index(gpu) * share
        return self.cores[first : first + share]


def this_machine(
    *, gpus: int | None = None, cpus: int | None = None, memory_gb: float | None = None
) -> Machine:
    """Return the part of its machine that this process may use.

    Args:
        gpus: Use only this many GPUs, the first ones; None uses all.
        cpus: Hand out this many cores instead of the process's affinity; core numbers that do not
            exist here are only counted, and runs share the existing cores.
        memory_gb: Hand out this much memory; None: what the machine has, or a cgroup allows.
    """
    cores = sorted(os.sched_getaffinity(0))
    if cpus is not None:
        cores = cores[:cpus] if cpus <= len(cores) else list(range(cpus))
    found = listed_gpus(os.environ)
    return Machine(
        gpus=found.names[:gpus],
        gpu_variable=found.variable,
        shares_gpus=found.can_be_shared,
        cores=tuple(cores),
        memory_gb=memory_gb or machine_memory_gb(),
    )

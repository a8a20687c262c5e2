"""The GPUs, cores and memory of one machine that runs may use."""

from __future__ import annotations

import logging
import os
import re
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress

from attrs import frozen

from launcher.job.memory import machine_memory_gb

logger = logging.getLogger(__name__)

NVIDIA_SMI_TIMEOUT_S = 20.0
"""It needs up to some seconds for eight GPUs whose driver is not loaded yet."""

_GPU_LINE = re.compile(r"GPU (\d+): .*\(UUID: (GPU-[0-9a-f-]+)\)")
_MIG_LINE = re.compile(r"\s+MIG .*\(UUID: (MIG-[^)]+)\)")


@frozen(kw_only=True)
class Machine:
    """GPUs by UUID, CPU cores by number, and memory."""

    gpus: tuple[str, ...] = ()
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
        by_gpus = len(self.gpus) * int(1 / gpus) if gpus < 1 else int(len(self.gpus) // gpus)
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
    found = visible_gpus(nvidia_smi(), os.environ.get("CUDA_VISIBLE_DEVICES"))
    return Machine(
        gpus=found[:gpus], cores=tuple(cores), memory_gb=memory_gb or machine_memory_gb()
    )


def visible_gpus(listing: str, cuda_visible_devices: str | None) -> tuple[str, ...]:
    """Return the UUIDs of the GPUs, or of their MIG instances, that a process may use.

    Args:
        listing: Output of `nvidia-smi -L`.
        cuda_visible_devices: GPU numbers as in the listing or beginnings of UUIDs, comma-separated;
            as in CUDA, entries after one that matches no GPU are ignored. None: all GPUs are
            visible.
    """
    gpus = parse_gpu_list(listing)
    if cuda_visible_devices is None:
        return tuple(unit for units in gpus.values() for unit in units)
    visible: list[str] = []
    for entry in cuda_visible_devices.split(","):
        units = _units_of(entry.strip(), gpus)
        if not units:
            break
        visible += units
    return tuple(dict.fromkeys(visible))


def parse_gpu_list(text: str) -> dict[str, list[str]]:
    """Map each GPU number in the output of `nvidia-smi -L` to the UUIDs to use it by.

    They are its own UUID, or those of its MIG instances if it is partitioned.
    """
    gpus: dict[str, list[str]] = {}
    parts: dict[str, list[str]] = {}
    number = ""
    for line in text.splitlines():
        if gpu := _GPU_LINE.match(line):
            number = gpu[1]
            gpus[number] = [gpu[2]]
        elif part := _MIG_LINE.match(line):
            parts.setdefault(number, []).append(part[1])
    return {**gpus, **parts}


def nvidia_smi(timeout_s: float | None = None) -> str:
    """Return the output of `nvidia-smi -L`; empty if there is no driver, it fails, or hangs."""
    try:
        process = subprocess.Popen(
            ["nvidia-smi", "-L"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
    except FileNotFoundError:
        return ""
    except OSError as error:
        logger.warning("nvidia-smi cannot be started: %s", error)
        return ""
    timeout_s = timeout_s or NVIDIA_SMI_TIMEOUT_S
    try:
        listing, _ = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        logger.warning("nvidia-smi gave no answer within %g s: a GPU may hang", timeout_s)
        _abandon(process)
        return ""
    if process.returncode != 0:
        last = listing.strip().rpartition("\n")[2]
        logger.warning("nvidia-smi failed with exit code %d: %s", process.returncode, last)
        return ""
    return listing


def _abandon(process: subprocess.Popen[str]) -> None:
    """Kill a process group, without waiting long: one that hangs in the driver does not die."""
    os.killpg(process.pid, signal.SIGKILL)
    with suppress(subprocess.TimeoutExpired):
        process.communicate(timeout=1)


def _units_of(entry: str, gpus: Mapping[str, Sequence[str]]) -> Sequence[str]:
    if entry in gpus:
        return gpus[entry]
    units = [unit for units in gpus.values() for unit in units]
    return [unit for unit in units if entry and unit.startswith(entry)][:1]

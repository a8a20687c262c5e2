"""What one machine has to give to runs."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping, Sequence

from attrs import frozen

_GPU_LINE = re.compile(r"GPU (\d+): .*\(UUID: (GPU-[0-9a-f-]+)\)")
_MIG_LINE = re.compile(r"\s+MIG .*\(UUID: (MIG-[^)]+)\)")


@frozen(kw_only=True)
class Machine:
    """GPUs by UUID, CPU cores by number, and memory."""

    gpus: tuple[str, ...] = ()
    cores: tuple[int, ...]
    memory_gb: float | None = None
    """None leaves it to the operating system who gets how much."""
    is_pinned: bool = True
    """Whether the core numbers are the machine's own, and not mere places to be counted."""

    def max_runs(self, *, gpus: float, cpus: int) -> int:
        """How many runs of this size go on at once: as many as the GPUs and the cores allow.

        A run that asks for more cores than there are has the machine for itself.
        """
        by_cores = max(1, len(self.cores) // cpus)
        if not self.uses_gpus(gpus):
            return by_cores
        by_gpus = len(self.gpus) * int(1 / gpus) if gpus < 1 else int(len(self.gpus) // gpus)
        return min(by_gpus, by_cores)

    def uses_gpus(self, gpus: float) -> bool:
        """Whether a run that asks for so many GPUs gets GPUs here, or goes on the CPU."""
        return gpus > 0 and len(self.gpus) > 0

    def cores_beside(self, gpu: str) -> tuple[int, ...]:
        """The GPU's equal share of the cores; neighbours in number share caches and memory."""
        share = len(self.cores) // len(self.gpus)
        first = self.gpus.index(gpu) * share
        return self.cores[first : first + share]


def this_machine(*, gpus: int | None = None, cpus: int | None = None) -> Machine:
    """What this process may use of its machine.

    Args:
        gpus: Use the first so many GPUs only.
        cpus: Hand out so many cores instead of those that this process may run on; numbers that
            the machine does not have stand for a share of those that it has.
    """
    cores = sorted(os.sched_getaffinity(0))
    if cpus is not None:
        cores = cores[:cpus] if cpus <= len(cores) else list(range(cpus))
    found = visible_gpus(nvidia_smi(), os.environ.get("CUDA_VISIBLE_DEVICES"))
    return Machine(gpus=found[:gpus], cores=tuple(cores))


def visible_gpus(listing: str, cuda_visible_devices: str | None) -> tuple[str, ...]:
    """UUIDs of the GPUs, or of their MIG parts, that a process may use.

    Args:
        listing: Output of `nvidia-smi -L`.
        cuda_visible_devices: GPU numbers as in the listing or beginnings of UUIDs, comma-separated;
            what follows an entry that fits no GPU is not visible. None: all are.
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


def _units_of(entry: str, gpus: Mapping[str, Sequence[str]]) -> Sequence[str]:
    if entry in gpus:
        return gpus[entry]
    units = [unit for units in gpus.values() for unit in units]
    return [unit for unit in units if entry and unit.startswith(entry)][:1]


def parse_gpu_list(text: str) -> dict[str, list[str]]:
    """GPU number → UUIDs to use it by: its own, or those of its MIG parts if it is divided."""
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


def nvidia_smi() -> str:
    try:
        listing = subprocess.run(
            ["nvidia-smi", "-L"], capture_output=True, text=True, check=False, timeout=60
        )
    except FileNotFoundError:
        return ""
    return listing.stdout if listing.returncode == 0 else ""

"""GPUs as their driver lists them, and the variable by which a process is given some of them."""

from __future__ import annotations

import logging
import os
import re
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from attrs import frozen

logger = logging.getLogger(__name__)

NVIDIA_SMI_TIMEOUT_S = 20.0
"""It needs up to some seconds for eight GPUs whose driver is not loaded yet."""

CUDA, ROCM, HIP = "CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES"
GPU_VARIABLES = (CUDA, ROCM, HIP, "GPU_DEVICE_ORDINAL")
"""All that restrict the GPUs of a process. On AMD, the numbers in one count what another leaves: a
process has only one of them."""
_NO_GPUS = ("", "-1", "NoDevFiles")
"""Values that name no GPU; the last one is Slurm's."""

_KFD_NODES = Path("/sys/class/kfd/kfd/topology/nodes")
_MPS = "/tmp/nvidia-mps"

_GPU_LINE = re.compile(r"GPU (\d+): .*\(UUID: (GPU-[0-9a-f-]+)\)")
_MIG_LINE = re.compile(r"\s+MIG .*\(UUID: (MIG-[^)]+)\)")


@frozen(kw_only=True)
class FoundGpus:
    """GPUs that this process may use."""

    names: tuple[str, ...] = ()
    """UUIDs if the driver lists them, else the names that Slurm uses."""
    variable: str = CUDA
    """By which a process is given some of them."""
    can_be_shared: bool = True
    """Whether several processes may use one GPU."""


def listed_gpus(environment: Mapping[str, str]) -> FoundGpus:
    """Return the GPUs that the driver of this machine lists, and no variable hides."""
    listing = nvidia_smi()
    if listing:
        nvidia = visible_gpus(listing, environment.get(CUDA))
        return FoundGpus(names=nvidia, can_be_shared=_can_be_shared(listing, nvidia))
    amd = amd_gpus()
    if not amd:
        return FoundGpus()
    variable = next((name for name in (ROCM, HIP, CUDA) if name in environment), ROCM)
    visible = environment.get(variable, ",".join(amd)).split(",")
    return FoundGpus(names=tuple(name for name in visible if name in amd), variable=variable)


def allocated_gpus(environment: Mapping[str, str], *, has_whole_nodes: bool) -> FoundGpus:
    """Return the GPUs that Slurm has given to this job.

    Slurm sets the variables of all vendors where it does not know which GPUs a node has.

    Args:
        has_whole_nodes: Whether all GPUs of the node are the job's, though Slurm knows of none.
    """
    variables = {name: environment.get(name, "") for name in (CUDA, ROCM, HIP)}
    visible = {name: value for name, value in variables.items() if value not in _NO_GPUS}
    if not visible:
        return listed_gpus({}) if has_whole_nodes else FoundGpus()
    if CUDA in visible:
        listing = nvidia_smi()
        if nvidia := visible_gpus(listing, visible[CUDA]):
            return FoundGpus(names=nvidia, can_be_shared=_can_be_shared(listing, nvidia))
    order = (ROCM, HIP, CUDA) if amd_gpus() else (CUDA, ROCM, HIP)
    variable = next(name for name in order if name in visible)
    names = tuple(entry.strip() for entry in visible[variable].split(","))
    return FoundGpus(names=names, variable=variable)


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


def exclusive_gpus(listing: str, modes: str) -> set[str]:
    """Return the UUIDs of the GPUs that take one process only.

    Args:
        listing: Output of `nvidia-smi -L`.
        modes: The compute mode of each of its GPUs, one per line. If these are not as many, one
            that is exclusive stands for all.
    """
    gpus = parse_gpu_list(listing)
    lines = ["exclusive" in mode.lower() for mode in modes.splitlines() if mode.strip()]
    exclusive = lines if len(lines) == len(gpus) else [any(lines)] * len(gpus)
    return {
        unit
        for units, is_exclusive in zip(gpus.values(), exclusive, strict=True)
        if is_exclusive
        for unit in units
    }


def amd_gpus(nodes: Path | None = None) -> tuple[str, ...]:
    """Return the numbers of AMD's GPUs, as ROCR_VISIBLE_DEVICES counts them; () without a driver.

    Args:
        nodes: Where the driver lists processors of both kinds: a CPU has 0 as `gpu_id`.
    """
    found = []
    with suppress(OSError):
        for node in (nodes or _KFD_NODES).iterdir():
            with suppress(OSError):  # of another job, where jobs are confined
                found.append((node / "gpu_id").read_text().strip() not in ("", "0"))
    return tuple(map(str, range(sum(found))))


def nvidia_smi(*arguments: str, timeout_s: float | None = None) -> str:
    """Return the output of `nvidia-smi`; empty if there is no driver, it fails, or hangs.

    Args:
        arguments: None lists the GPUs: `-L`.
    """
    try:
        process = subprocess.Popen(
            ["nvidia-smi", *(arguments or ("-L",))],
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


def _can_be_shared(listing: str, gpus: Sequence[str]) -> bool:
    """Return whether several processes may use one of these GPUs.

    In the compute mode EXCLUSIVE_PROCESS only one may, unless NVIDIA's MPS runs: then that one is
    its server, and the others are its clients.
    """
    modes = nvidia_smi("--query-gpu=compute_mode", "--format=csv,noheader")
    if exclusive_gpus(listing, modes).isdisjoint(gpus):
        return True
    return Path(os.environ.get("CUDA_MPS_PIPE_DIRECTORY") or _MPS, "control").exists()


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

"""Slots: shares of this machine for runs, never assigned twice by any process of this user."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from uuid import uuid4

import attrs
from attrs import frozen

from launcher import file_lock
from launcher.errors import LauncherError
from launcher.job.machine import Machine
from launcher.packing.demand import GPU, gpu_units


@frozen(kw_only=True)
class Slot:
    """The GPUs and cores of one run, held until its lock file is closed in every process."""

    gpus: tuple[str, ...]
    cores: tuple[int, ...]
    """The cores to run on; empty: no pinning."""
    descriptors: tuple[int, ...]
    """Lock files for the run to inherit, so that the slot is held for as long as the run lives."""

    def close(self) -> None:
        """Close the lock in this process; the slot is free once the run has exited, too."""
        for descriptor in self.descriptors:
            os.close(descriptor)


@frozen(kw_only=True)
class _Claim:
    """The part of the machine that one slot uses, as written to its lock file."""

    gpus: tuple[str, ...] = ()
    share: int = GPU
    """Of each of its GPUs, in the integer units of `packing.demand`: sums are exact."""
    cores: tuple[int, ...] = ()
    memory_gb: float = 0.0


class Slots:
    """The slots of one machine, shared by all supervisors that use the same folder.

    A slot is a file that describes its claim and is locked (`flock`) while the slot is in use: the
    kernel frees the lock of a process that dies in any way, so no slot can leak.
    """

    def __init__(self, machine: Machine, folder: Path) -> None:
        self._machine = machine
        self._folder = folder

    def take(
        self, *, gpus: float, cpus: int, memory_gb: float = 0.0, planned: Sequence[int] = ()
    ) -> Slot | None:
        """Take a slot for a run of this size; return None while too little of the machine is free.

        Args:
            gpus: Below 1, a share of one GPU. On a machine without GPUs the run uses the CPU.
            cpus: Capped at the number of cores of the machine.
            planned: Indices of the GPUs to prefer.
        """
        with file_lock.hold(self._folder / "allocation"):
            wanted = self._choose(gpus, cpus, memory_gb, planned, self._all_taken())
            return self._take(wanted) if wanted else None

    def lacks(self, *, gpus: float, memory_gb: float) -> str:
        """Return what even the whole machine is short of for a run of this size; "" if nothing."""
        machine = self._machine
        if machine.uses_gpus(gpus) and gpus > len(machine.gpus):
            return f"has {len(machine.gpus)} GPUs to give, and the run needs {gpus:g}"
        if machine.memory_gb is not None and memory_gb > machine.memory_gb + 1e-6:
            return f"has {machine.memory_gb:g} GB of memory to give, the run needs {memory_gb:g}"
        return ""

    def _choose(
        self,
        gpus: float,
        cpus: int,
        memory_gb: float,
        planned: Sequence[int],
        others: Sequence[_Claim],
    ) -> _Claim | None:
        machine = self._machine
        if machine.memory_gb is not None:
            free_gb = machine.memory_gb - sum(other.memory_gb for other in others)
            if memory_gb > free_gb + 1e-6:
                return None
        chosen: tuple[str, ...] = ()
        share = GPU
        if machine.uses_gpus(gpus):
            share = GPU if gpus >= 1 else gpu_units(gpus)
            chosen = self._choose_gpus(max(1, int(gpus)), share, planned, others)
            if not chosen:
                return None
        taken = {core for other in others for core in other.cores}
        free = [core for core in machine.cores if core not in taken]
        cpus = min(cpus, len(machine.cores))
        if len(free) < cpus:
            return None
        beside = {core for gpu in chosen for core in machine.cores_beside(gpu)}
        cores = sorted(free, key=lambda core: (core not in beside, core))[:cpus]
        return _Claim(gpus=chosen, share=share, cores=tuple(sorted(cores)), memory_gb=memory_gb)

    def _choose_gpus(
        self, count: int, share: int, planned: Sequence[int], others: Sequence[_Claim]
    ) -> tuple[str, ...]:
        """Return the planned GPUs if they have room, else by best fit; () if too few have room.

        Best fit, the fullest GPU that still has room, keeps whole GPUs free for runs that need one.
        """
        gpus = self._machine.gpus
        used = {gpu: sum(other.share for other in others if gpu in other.gpus) for gpu in gpus}
        fitting = [gpu for gpu in gpus if used[gpu] + share <= GPU]
        preferred = {gpus[position] for position in planned if position < len(gpus)}
        fitting.sort(key=lambda gpu: (gpu not in preferred, -used[gpu], gpus.index(gpu)))
        return tuple(fitting[:count]) if len(fitting) >= count else ()

    def _all_taken(self) -> list[_Claim]:
        """Return the claims of slots in use; remove the files of those whose processes are gone."""
        found = []
        for path in self._folder.glob("slot-*.json"):
            if file_lock.is_held(path):
                found.append(_from_json(path.read_text()))
            else:
                path.unlink()
        return found

    def _take(self, wanted: _Claim) -> Slot:
        path = self._folder / f"slot-{uuid4().hex}.json"
        descriptor = file_lock.try_take(path)
        assert descriptor is not None
        os.write(descriptor, json.dumps(attrs.asdict(wanted)).encode())
        cores = wanted.cores if self._machine.is_pinned else ()
        return Slot(gpus=wanted.gpus, cores=cores, descriptors=(descriptor,))


def slots_folder(name: str = "") -> Path:
    """Return the folder of the lock files: on this machine, of this user, same in every session.

    Args:
        name: Of an allocation, such as a Slurm job on a node, that has its own slots.

    Raises:
        LauncherError: The folder belongs to another user.
    """
    # Not XDG_RUNTIME_DIR: it is deleted when the user logs out, and runs outlive that.
    if chosen := os.environ.get("LAUNCH_SLOTS_DIR"):
        folder = Path(chosen)
    else:
        folder = Path(tempfile.gettempdir()) / f"launch-slots-{os.getuid()}"
    folder = folder / name
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if folder.stat().st_uid != os.getuid():
        raise LauncherError(
            f"{folder} belongs to another user; remove it, or set LAUNCH_SLOTS_DIR to a folder "
            "that you own on this machine"
        )
    return folder


def _from_json(text: str) -> _Claim:
    """Parse a claim; an empty file is one whose writer died before it wrote, and claims nothing."""
    if not text:
        return _Claim()
    data = json.loads(text)
    return _Claim(gpus=tuple(data.pop("gpus")), cores=tuple(data.pop("cores")), **data)

"""A share of this machine for every run, never given twice, whoever asks."""

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
    """GPUs and cores of one run, kept by an open file: until it is closed in every process."""

    gpus: tuple[str, ...]
    cores: tuple[int, ...]
    """Where to run; empty means anywhere."""
    descriptors: tuple[int, ...]
    """To be inherited by the run, so that the slot stays taken for as long as the run lives."""

    def close(self) -> None:
        """Give up this process's share in the slot."""
        for descriptor in self.descriptors:
            os.close(descriptor)


@frozen(kw_only=True)
class _Taken:
    """What one slot takes away."""

    gpus: tuple[str, ...] = ()
    share: int = GPU
    """Of each of its GPUs, in the units of `packing.demand`."""
    cores: tuple[int, ...] = ()
    memory_gb: float = 0.0


class Slots:
    """The slots of one machine, shared by all supervisors that use the same folder.

    A slot is a locked file that says what it takes; one whose lock is free is worth nothing.
    """

    def __init__(self, machine: Machine, folder: Path) -> None:
        self._machine = machine
        self._folder = folder

    def take(
        self, *, gpus: float, cpus: int, memory_gb: float = 0.0, planned: Sequence[int] = ()
    ) -> Slot | None:
        """A slot for a run of this size; None while too little of the machine is free.

        Args:
            gpus: A share of one GPU below 1. Where the machine has none the run goes without.
            cpus: More than there are means all of them.
            planned: Positions of the GPUs to prefer.
        """
        with file_lock.hold(self._folder / "allocation"):
            wanted = self._choose(gpus, cpus, memory_gb, planned, self._all_taken())
            return self._take(wanted) if wanted else None

    def _choose(
        self,
        gpus: float,
        cpus: int,
        memory_gb: float,
        planned: Sequence[int],
        others: Sequence[_Taken],
    ) -> _Taken | None:
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
        return _Taken(gpus=chosen, share=share, cores=tuple(sorted(cores)), memory_gb=memory_gb)

    def _choose_gpus(
        self, count: int, share: int, planned: Sequence[int], others: Sequence[_Taken]
    ) -> tuple[str, ...]:
        """The planned GPUs if they have room, else the fullest ones that have; () if too few do."""
        gpus = self._machine.gpus
        used = {gpu: sum(other.share for other in others if gpu in other.gpus) for gpu in gpus}
        fitting = [gpu for gpu in gpus if used[gpu] + share <= GPU]
        preferred = {gpus[position] for position in planned if position < len(gpus)}
        fitting.sort(key=lambda gpu: (gpu not in preferred, -used[gpu], gpus.index(gpu)))
        return tuple(fitting[:count]) if len(fitting) >= count else ()

    def _all_taken(self) -> list[_Taken]:
        """What living slots take; forgets those whose processes are gone."""
        found = []
        for path in self._folder.glob("slot-*.json"):
            if file_lock.is_held(path):
                found.append(_from_json(path.read_text()))
            else:
                path.unlink()
        return found

    def _take(self, wanted: _Taken) -> Slot:
        path = self._folder / f"slot-{uuid4().hex}.json"
        descriptor = file_lock.try_take(path)
        assert descriptor is not None
        os.write(descriptor, json.dumps(attrs.asdict(wanted)).encode())
        cores = wanted.cores if self._machine.is_pinned else ()
        return Slot(gpus=wanted.gpus, cores=cores, descriptors=(descriptor,))


def _from_json(text: str) -> _Taken:
    """Of a file whose writer died between making and filling it: nothing."""
    if not text:
        return _Taken()
    data = json.loads(text)
    return _Taken(gpus=tuple(data.pop("gpus")), cores=tuple(data.pop("cores")), **data)


def slots_folder(name: str = "") -> Path:
    """The folder of the locks: on this machine, this user's, the same in every session.

    XDG_RUNTIME_DIR would not do: it goes away when the user logs out, and runs stay.

    Args:
        name: Of an allocation that has slots of its own.
    """
    if chosen := os.environ.get("LAUNCH_SLOTS_DIR"):
        folder = Path(chosen)
    else:
        folder = Path(tempfile.gettempdir()) / f"launch-slots-{os.getuid()}"
    folder = folder / name
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if folder.stat().st_uid != os.getuid():
        raise LauncherError(
            f"{folder} belongs to another user; remove it, or set LAUNCH_SLOTS_DIR to a folder of "
            "your own on this machine"
        )
    return folder

"""A share of this machine for every run, never given twice, whoever asks."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

from attrs import frozen

from launcher import file_lock
from launcher.errors import LauncherError
from launcher.machine import Machine


@frozen(kw_only=True)
class Slot:
    """GPUs and cores of one run, kept by open files: until they are closed in every process."""

    gpus: tuple[str, ...]
    cores: tuple[int, ...]
    """Where to run; empty means anywhere."""
    descriptors: tuple[int, ...]
    """To be inherited by the run, so that the slot stays taken for as long as the run lives."""

    def close(self) -> None:
        """Give up this process's share in the slot."""
        for descriptor in self.descriptors:
            os.close(descriptor)


class Slots:
    """The slots of one machine, shared by all supervisors of one user."""

    def __init__(self, machine: Machine, folder: Path) -> None:
        self._machine = machine
        self._folder = folder

    def take(self, *, gpus: int, cpus: int) -> Slot | None:
        """A slot for a run of this size; None while too little of the machine is free.

        A run gets GPUs and their share of the cores where there are GPUs, and cores elsewhere.
        """
        machine = self._machine
        if machine.uses_gpus(gpus):
            taken = self._take("gpu", machine.gpus, gpus)
            beside = tuple(core for gpu in taken for core in machine.cores_beside(gpu))
            chosen, cores = tuple(taken), beside if len(beside) >= cpus else ()
        else:
            taken = self._take("core", map(str, machine.cores), min(cpus, len(machine.cores)))
            chosen, cores = (), tuple(int(core) for core in taken)
        if not taken:
            return None
        return Slot(gpus=chosen, cores=cores, descriptors=tuple(taken.values()))

    def _take(self, kind: str, units: Iterable[str], count: int) -> dict[str, int]:
        """Units that were free, with the descriptors of their locks: `count` of them, or none."""
        taken: dict[str, int] = {}
        with file_lock.hold(self._folder / "allocation"):
            for unit in units:
                descriptor = file_lock.try_take(self._folder / f"{kind}-{unit.replace('/', '_')}")
                if descriptor is not None:
                    taken[unit] = descriptor
                if len(taken) == count:
                    return taken
            for descriptor in taken.values():
                os.close(descriptor)
        return {}


def slots_folder() -> Path:
    """The folder of the locks: on this machine, this user's, the same in every session.

    XDG_RUNTIME_DIR would not do: it goes away when the user logs out, and runs stay.
    """
    if chosen := os.environ.get("LAUNCH_SLOTS_DIR"):
        folder = Path(chosen)
    else:
        folder = Path(tempfile.gettempdir()) / f"launch-slots-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.getuid():
        raise LauncherError(
            f"{folder} belongs to another user; remove it, or set LAUNCH_SLOTS_DIR to a folder of "
            "your own on this machine"
        )
    return folder

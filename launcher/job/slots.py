"""Slots: shares of this machine for runs, never assigned twice by any process of any user."""

from __future__ import annotations

import errno
import fcntl
import json
import math
import os
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

import attrs
from attrs import frozen

from launcher import file_lock
from launcher.job.machine import Machine
from launcher.packing.demand import GPU, gpu_units

_LOCK_TIMEOUT_S = 1.0
"""Others hold the lock for milliseconds, and a supervisor that waits hears no signal."""


@frozen(kw_only=True)
class Slot:
    """The GPUs and cores of one run, held until its lock file is closed in every process."""

    machine: Machine
    """The machine that it is a part of."""
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
    kernel frees the lock of a process that dies in any way, so no slot can leak. Nor can one be
    given twice once something has removed the files, as cleaners of /tmp do after ten days: before
    a slot is given, the claims are also read from the descriptors that living processes hold, and
    the folder is locked as long as a slot is, which the cleaner of systemd heeds.

    Users share no folder, and so no lock of all allocations. Whoever has taken a slot looks at the
    others' once more, and gives it back if there is a new one: of two that take the same at once,
    the later one sees the earlier one, or both see each other and try again.
    """

    def __init__(
        self, machine: Machine, folder: Path, *, others: Callable[[], Iterable[str]] = tuple
    ) -> None:
        """
        Args:
            others: Returns the claims of those who share the machine, and not the folder.
        """
        self._machine = machine
        self._folder = folder
        self._others = others

    def take(
        self,
        *,
        gpus: float,
        cpus: int,
        memory_gb: float = 0.0,
        planned: Sequence[int] = (),
        avoided: Collection[str] = (),
    ) -> Slot | None:
        """Take a slot for a run of this size; return None while too little of the machine is free.

        Args:
            gpus: Below 1, a share of one GPU. On a machine without GPUs the run uses the CPU.
            cpus: Capped at the number of cores of the machine.
            planned: Indices of the GPUs to prefer.
            avoided: GPUs to take only if no others are free.

        Raises:
            LockHeldError: Another supervisor is taking a slot.
            OSError: The disk of the lock files is full, or fails.
        """
        with self._allocation():
            others = list(self._claims_of_others())
            claims = self._claims_in_files()
            size = (gpus, cpus, memory_gb, planned, avoided)
            if not self._choose(*size, [*claims.values(), *others]):
                return None
            # Only now: to look at all processes takes some milliseconds, and a run may wait long.
            claims |= self._claims_of_processes()
            wanted = self._choose(*size, [*claims.values(), *others])
            slot = self._take(wanted) if wanted else None
            if slot and Counter(self._claims_of_others()) - Counter(others):
                slot.close()
                return None
            return slot

    @contextmanager
    def _allocation(self) -> Iterator[None]:
        """Hold the lock of all allocations; that of a file which was removed would be none."""
        while True:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            path = self._folder / "allocation"
            with file_lock.hold(path, timeout_s=_LOCK_TIMEOUT_S):
                if file_lock.is_held(path):  # the file that is there now
                    yield
                    return

    def lacks(self, *, gpus: float, memory_gb: float) -> str:
        """Return what even the whole machine is short of for a run of this size; "" if nothing."""
        machine = self._machine
        if self.lacks_gpus(gpus):
            return f"has {len(machine.gpus)} GPUs to give, and the run needs {gpus:g}"
        if machine.memory_gb is not None and memory_gb > machine.memory_gb + 1e-6:
            return f"has {machine.memory_gb:g} GB of memory to give, the run needs {memory_gb:g}"
        return ""

    def lacks_gpus(self, gpus: float) -> bool:
        """Return whether even the whole machine has too few GPUs for a run, and does not let it
        use the CPU."""
        machine = self._machine
        must_have = (machine.owes_gpus and gpus > 0) or machine.uses_gpus(gpus)
        return must_have and max(1, int(gpus)) > len(machine.gpus)

    def _choose(
        self,
        gpus: float,
        cpus: int,
        memory_gb: float,
        planned: Sequence[int],
        avoided: Collection[str],
        others: Collection[_Claim],
    ) -> _Claim | None:
        machine = self._machine
        if machine.memory_gb is not None:
            free_gb = machine.memory_gb - sum(other.memory_gb for other in others)
            if memory_gb > free_gb + 1e-6:
                return None
        chosen: tuple[str, ...] = ()
        share = GPU
        if machine.uses_gpus(gpus):
            share = gpu_units(gpus) if gpus < 1 and machine.shares_gpus else GPU
            chosen = self._choose_gpus(max(1, int(gpus)), share, planned, avoided, others)
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
        self,
        count: int,
        share: int,
        planned: Sequence[int],
        avoided: Collection[str],
        others: Collection[_Claim],
    ) -> tuple[str, ...]:
        """Return the planned GPUs if they have room, else by best fit; () if too few have room.

        Best fit, the fullest GPU that still has room, keeps whole GPUs free for runs that need one.
        """
        gpus = self._machine.gpus
        used = {gpu: sum(other.share for other in others if gpu in other.gpus) for gpu in gpus}
        fitting = [gpu for gpu in gpus if used[gpu] + share <= GPU]
        preferred = {gpus[position] for position in planned if position < len(gpus)}
        fitting.sort(
            key=lambda gpu: (gpu in avoided, gpu not in preferred, -used[gpu], gpus.index(gpu))
        )
        return tuple(fitting[:count]) if len(fitting) >= count else ()

    def _claims_in_files(self) -> dict[str, _Claim]:
        """Return the claims of slots in use, by file name; remove the files of the others."""
        found = {}
        for path in self._folder.glob("slot-*.json"):
            if file_lock.is_held(path):
                found[path.name] = _from_json(path.read_text())
            else:
                path.unlink(missing_ok=True)
        return found

    def _claims_of_others(self) -> Iterator[_Claim]:
        for text in self._others():
            # of another version, or of somebody who wants to be in the way
            with suppress(ValueError, TypeError, KeyError, OverflowError, RecursionError):
                yield _from_json(text)

    def _claims_of_processes(self) -> dict[str, _Claim]:
        """Return the claims that this user's processes hold open, whatever became of the files."""
        prefix = f"{self._folder.resolve()}/slot-"
        found = {}
        for descriptor in _descriptors():
            with suppress(OSError):  # closed meanwhile
                target = str(descriptor.readlink())
                if target.startswith(prefix):
                    name = Path(target.removesuffix(" (deleted)")).name
                    found[name] = _from_json(descriptor.read_text())
        return found

    def _take(self, wanted: _Claim) -> Slot | None:
        path = self._folder / f"slot-{uuid4().hex}.json"
        descriptor = file_lock.try_take(path)
        if descriptor is None:  # another user looks at the new file, by a shared lock
            path.unlink()
            return None
        content = json.dumps(attrs.asdict(wanted)).encode()
        try:
            os.fchmod(descriptor, 0o644)  # others read it, whatever the umask
            if os.write(descriptor, content) < len(content):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        except OSError:
            os.close(descriptor)  # or it would stay a slot without a claim
            raise
        cores = wanted.cores if self._machine.is_pinned else ()
        descriptors = (descriptor, *_locked(self._folder))
        return Slot(machine=self._machine, gpus=wanted.gpus, cores=cores, descriptors=descriptors)


def _locked(folder: Path) -> Iterator[int]:
    """Yield a descriptor by which a folder is locked, if it can be, against cleaners of /tmp."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return
    with suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    yield descriptor


def _descriptors() -> Iterator[Path]:
    """Yield the descriptors, in /proc, that this user's processes have open."""
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # somebody else's, or ended meanwhile
            yield from (process / "fd").iterdir()


def _from_json(text: str) -> _Claim:
    """Parse a claim; an empty file is one whose writer died before it wrote, and claims nothing."""
    if not text:
        return _Claim()
    data = json.loads(text)
    claim = _Claim(
        gpus=tuple(map(str, data["gpus"])),
        share=int(data["share"]),
        cores=tuple(map(int, data["cores"])),
        memory_gb=float(data["memory_gb"]),
    )
    if claim.share < 0 or not 0 <= claim.memory_gb < math.inf:  # NaN is neither
        raise ValueError(f"no claim: share {claim.share}, memory_gb {claim.memory_gb}")
    return claim

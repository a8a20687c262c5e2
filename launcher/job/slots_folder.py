"""Where the slots of a machine lie: each user's in a folder of their own, which all can read.

No folder is written to by several users: whoever could write there could take slots away, or lead
others to files of theirs by links. So each user locks in their own folder and looks at the others'.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

from launcher import file_lock
from launcher.errors import LauncherError

_BASES = (Path("/tmp"), Path("/dev/shm"))
"""Neither TMPDIR, which differs between shells, nor XDG_RUNTIME_DIR, which is deleted when the user
logs out, while runs go on."""
_PREFIX = "launch-slots-"
_MAX_CLAIM_BYTES = 65536


def slots_folder(name: str = "") -> Path:
    """Return the folder of the lock files: on this machine, of this user, same in every session.

    Args:
        name: Of an allocation, such as a Slurm job on a node, that has its own slots.

    Raises:
        LauncherError: No folder can be used, or not the one that LAUNCH_SLOTS_DIR names.
    """
    user = f"{_PREFIX}{os.getuid()}"
    chosen = os.environ.get("LAUNCH_SLOTS_DIR")
    bases = [Path(chosen)] if chosen else [base / user for base in _BASES]
    if not chosen and (home := os.environ.get("HOME")):
        bases.append(Path(home) / ".cache" / f"{user}-{os.uname().nodename}")
    refusals = []
    for base in bases:
        try:
            if not chosen:
                _make_own(base)
            return _lockable(base / name)
        except OSError as error:
            refusals.append(f"{base} ({error.strerror or error})")
    raise LauncherError(
        f"the locks of GPUs and cores cannot lie in {', nor in '.join(refusals)}; set "
        "LAUNCH_SLOTS_DIR to a folder of your own on a disk of this machine"
    )


def claims_of_others() -> Iterator[str]:
    """Yield the claims of all slots that other users hold on this machine.

    Their files are what those users have written there: nothing that could be a link, or belongs
    to yet another user, is read. None with LAUNCH_SLOTS_DIR, which stands for slots of one's own.
    """
    for base in () if "LAUNCH_SLOTS_DIR" in os.environ else _BASES:
        for folder in base.glob(f"{_PREFIX}*"):
            uid = folder.name.removeprefix(_PREFIX)
            if uid.isdecimal() and int(uid) != os.getuid() and _is_of(folder, int(uid)):
                for path in folder.glob("slot-*.json"):
                    with suppress(OSError, UnicodeDecodeError):  # ended meanwhile, or not readable
                        yield from _held_claim(path, int(uid))


def _held_claim(path: Path, uid: int) -> Iterator[str]:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        found = os.fstat(descriptor)
        if stat.S_ISREG(found.st_mode) and found.st_uid == uid and file_lock.is_taken(descriptor):
            yield os.read(descriptor, _MAX_CLAIM_BYTES).decode()
    finally:
        os.close(descriptor)


def _is_of(folder: Path, uid: int) -> bool:
    try:
        found = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == uid


def _make_own(folder: Path) -> None:
    """Make a folder that nobody else can write to, and everybody can read.

    /tmp is everybody's: what has the name of the folder may be a link, or belong to another user.

    Raises:
        OSError: That is so, or the folder cannot be made.
    """
    folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode):
        raise NotADirectoryError(errno.ENOTDIR, "it is a link")
    if found.st_uid != os.getuid():
        raise PermissionError(errno.EPERM, "it belongs to another user")
    if stat.S_IMODE(found.st_mode) != 0o755:
        folder.chmod(0o755)


def _lockable(folder: Path) -> Path:
    """Make a folder, if need be, and try a lock and a write there.

    Raises:
        OSError: The disk is full or read-only, or has no locks, or the folder is somebody else's.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if folder.stat().st_uid != os.getuid():
        raise PermissionError(errno.EPERM, "it belongs to another user")
    probe = folder / f"probe-{uuid4().hex}"
    descriptor = file_lock.try_take(probe)
    assert descriptor is not None
    try:
        os.write(descriptor, b"\n")
    finally:
        os.close(descriptor)
        probe.unlink()
    return folder

"""Let libc's file calls fail, as a broken disk would have it: the Python side of file_faults.c."""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

from attrs import frozen

from scripts.workloads.file_calls import ALL, compile_library

SOURCE = Path(__file__).with_name("file_faults.c")
LIBRARY = SOURCE.with_suffix(".so").name

NO_END = 2**62


@frozen(kw_only=True)
class Fault:
    """What happens to calls, and to which of them.

    Attributes:
        action: `fail` with an errno, `fail_after` the call was done, `shorten` a read or write,
            `sleep` for milliseconds, `kill` the process before the call, `kill_after` it, `vanish`:
            the target folder is renamed to `….gone` before the call; `none`.
        number: Errno or milliseconds.
        operations: Others are not even counted.
    """

    action: str = "none"
    number: int = 0
    is_lasting: bool = False
    """Strikes all calls from the n-th on, not only that one."""
    operations: tuple[str, ...] = ALL


class FileFaults:
    """Arms faults in this process, which runs under `preloaded`, and in those it forks.

    Calls are counted over this process and those that are forked after its construction.
    """

    def __init__(self) -> None:
        self._library = ctypes.CDLL(None)
        self._library.faults_calls.restype = ctypes.c_long
        self._library.faults_struck.restype = ctypes.c_long
        self._library.faults_call.restype = ctypes.c_char_p
        self._library.faults_begin()

    def arm(
        self,
        fault: Fault,
        folder: Path,
        *,
        at: int = 1,
        part: str = "",
        target: Path | None = None,
    ) -> None:
        """Count calls for paths below a folder from 1 on, and have the fault strike at one of them.

        Args:
            part: Only paths that contain it count.
            target: What vanishes.
        """
        self._library.faults_arm(
            os.fsencode(folder),
            part.encode(),
            " ".join(fault.operations).encode(),
            fault.action.encode(),
            os.fsencode(target or folder),
            ctypes.c_long(at),
            ctypes.c_long(NO_END if fault.is_lasting else at),
            fault.number,
        )

    def disarm(self) -> None:
        self._library.faults_disarm()

    @property
    def num_calls(self) -> int:
        return int(self._library.faults_calls())

    @property
    def num_struck(self) -> int:
        return int(self._library.faults_struck())

    def call(self, number: int) -> str:
        """Operation and path below the folder of the n-th call; of about 8,000 it is known."""
        return os.fsdecode(self._library.faults_call(ctypes.c_long(number - 1)))

    def is_done(self, number: int) -> bool:
        return bool(self._library.faults_is_done(ctypes.c_long(number - 1)))

    def thread(self, number: int) -> int:
        """The kernel's number of the thread that has made the n-th call."""
        return int(self._library.faults_thread(ctypes.c_long(number - 1)))


def preloaded(folder: Path) -> dict[str, str]:
    """The environment of a process with faults; their library is compiled into a folder."""
    return {
        **os.environ,
        "LD_PRELOAD": str(compile_library(SOURCE, folder)),
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        "OMP_NUM_THREADS": "1",
    }


def folder_of_library() -> Path | None:
    """Where this process has the library from; None if it has not got it."""
    path = Path(os.environ.get("LD_PRELOAD", ""))
    return path.parent if path.name == LIBRARY else None

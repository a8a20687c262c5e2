"""Files that fail or hang for a while under processes that run; it opens fault_windows.c's windows.

    windows = FaultWindows(folder)
    process = subprocess.Popen(command, env={**os.environ, **windows.environment})
    with windows.open(run / "checkpoints", errno.EIO, WRITING) as window:
        window.wait_until_struck()

Whatever a process starts has the same windows, unless it gives it another environment. Pages that
are mapped into memory, and names that are reached through a symbolic link, are not watched.
"""

from __future__ import annotations

import ctypes
import itertools
import mmap
import os
import time
from collections.abc import Sequence
from pathlib import Path

from scripts.workloads.file_calls import ALL, compile_library

SOURCE = Path(__file__).with_name("fault_windows.c")
VARIABLE = "FAULT_WINDOWS"
HANG = 0
"""In place of an errno: calls return when the window is closed, and are made then."""
AWAY = tuple(each for each in ALL if each != "close")
"""What fails if a file system is away."""
LONG_S = 3600.0
NUM_WINDOWS = 16


class _Window(ctypes.Structure):
    """As `struct window` has it."""

    _fields_ = (
        ("id", ctypes.c_long),
        ("struck", ctypes.c_long),
        ("until_ns", ctypes.c_int64),
        ("number", ctypes.c_int64),
        ("prefix", ctypes.c_char * 1024),
        ("part", ctypes.c_char * 256),
        ("operations", ctypes.c_char * 256),
    )


class Window:
    """One that was opened; a block that it is used for with `with` closes it."""

    def __init__(self, slot: _Window) -> None:
        self._slot = slot
        self._id = slot.id

    @property
    def is_open(self) -> bool:
        return self._slot.id == self._id and time.monotonic_ns() < self._slot.until_ns

    @property
    def num_struck(self) -> int:
        """Calls that it has befallen so far; known until many more were opened."""
        return int(self._slot.struck)

    def wait_until_struck(self, count: int = 1, timeout_s: float = 60.0) -> None:
        deadline = time.monotonic() + timeout_s
        while self.num_struck < count:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.num_struck} calls struck within {timeout_s:g} s")
            time.sleep(0.01)

    def close(self) -> None:
        if self._slot.id == self._id:
            self._slot.id = 0

    def __enter__(self) -> Window:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class FaultWindows:
    """Opens and closes them in every process that has `environment`, from this process only.

    Args:
        folder: Where the library and the windows lie; none of the paths that are to fail.
    """

    def __init__(self, folder: Path) -> None:
        path = folder / "fault_windows"
        path.write_bytes(bytes(NUM_WINDOWS * ctypes.sizeof(_Window)))
        self.environment = {
            "LD_PRELOAD": str(compile_library(SOURCE, folder)),
            VARIABLE: str(path),
        }
        with path.open("r+b") as file:
            table = mmap.mmap(file.fileno(), 0)
        self._slots = (_Window * NUM_WINDOWS).from_buffer(table)
        self._ids = itertools.count(1)

    def open(
        self,
        path: Path,
        number: int,
        operations: Sequence[str] = AWAY,
        *,
        part: str = "",
        seconds: float = LONG_S,
    ) -> Window:
        """Let calls fail with an errno, or HANG.

        Args:
            path: A file, or a folder with all that is below it.
            operations: Of file_calls.py.
            part: Only paths that contain it behind `path`.
            seconds: After which the window closes by itself.

        Raises:
            RuntimeError: Too many windows are open.
        """
        identity, now = next(self._ids), time.monotonic_ns()
        in_turn = (self._slots[(identity + each) % NUM_WINDOWS] for each in range(NUM_WINDOWS))
        slot = next((each for each in in_turn if not each.id or each.until_ns <= now), None)
        if slot is None:
            raise RuntimeError(f"{NUM_WINDOWS} windows are open")
        slot.id = 0
        slot.struck = 0
        slot.until_ns = now + int(seconds * 1e9)
        slot.number = number
        slot.prefix = os.fsencode(path)
        slot.part = os.fsencode(part)
        slot.operations = f" {' '.join(operations)} ".encode()
        slot.id = identity
        return Window(slot)

"""Processes as Linux sees them."""

from __future__ import annotations

import os
import re
from pathlib import Path

_TRACKER = b"multiprocessing.resource_tracker"


def children(pid: int | None = None) -> set[int]:
    """Processes that a process, by default this one, has started, and that have not ended.

    Without the tracker of multiprocessing, which Python 3.14 starts with the first lock that any
    package makes, and which ends with its process.
    """
    files = Path(f"/proc/{pid or os.getpid()}/task").glob("*/children")
    found = {int(each) for file in files for each in file.read_text().split()}
    return {each for each in found if _TRACKER not in command_line(each)}


def command_line(pid: int) -> bytes:
    """With a zero byte behind each argument; empty if the process has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


def is_running(pid: int) -> bool:
    """A zombie is not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def num_open_files() -> int:
    """Of this process."""
    return len(list(Path("/proc/self/fd").iterdir()))


def resident_mb(pid: int | None = None) -> float:
    """Of a process, by default this one; 0 if it has ended."""
    status = Path(f"/proc/{pid or os.getpid()}/status").read_text()
    found = re.search(r"^VmRSS:\s*(\d+) kB$", status, re.MULTILINE)
    return int(found[1]) / 1024 if found else 0.0

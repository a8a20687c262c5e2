"""The memory that processes on this machine may use: what it has, less what a cgroup forbids."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")
_LIMITS = ("memory.max", "memory.limit_in_bytes")
"""Of cgroup v2 and v1."""


def machine_memory_gb() -> float:
    """Return the memory in GB, to a tenth."""
    limits = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    if folder := memory_cgroup():
        for each in (folder, *folder.parents):
            for name in _LIMITS:
                with suppress(OSError, ValueError):  # there is none here, or "max"
                    limits.append(int((each / name).read_text()))
    return round(min(limits) / 2**30, 1)


def memory_cgroup() -> Path | None:
    """Return the memory cgroup of this process; None if there is none, or it cannot be seen."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return None
    for line in lines:  # `ID:CONTROLLERS:PATH`; the entry of cgroup v2 names no controllers
        _, controllers, path = line.split(":", 2)
        if not controllers:
            candidate = _CGROUPS / path.lstrip("/")
            is_there = (candidate / "memory.events").exists()
        elif "memory" in controllers.split(","):
            candidate = _CGROUPS / "memory" / path.lstrip("/")
            is_there = (candidate / "memory.oom_control").exists()
        else:
            continue
        if is_there:
            return candidate
    return None

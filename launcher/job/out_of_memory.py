"""Detect processes of this job that the kernel's OOM killer has ended.

Their exit status alone does not tell: it is SIGKILL, as after any other kill.
"""

from __future__ import annotations

from pathlib import Path

from launcher.job.memory import memory_cgroup


class OutOfMemoryCounter:
    """Counts OOM kills in the memory cgroup of this process; 0 if there is no readable cgroup."""

    def __init__(self) -> None:
        self._path = _counter_path()
        self._seen = self._count()

    def has_grown(self) -> bool:
        """Return whether there were kills since the last call."""
        before, self._seen = self._seen, self._count()
        return self._seen > before

    def _count(self) -> int:
        if self._path is None:
            return 0
        try:
            return oom_kills(self._path.read_text())
        except OSError:
            return 0


def oom_kills(text: str) -> int:
    """Parse the `oom_kill` count of memory.events (cgroup v2) or memory.oom_control (v1)."""
    for line in text.splitlines():
        name, _, number = line.partition(" ")
        if name == "oom_kill":
            return int(number)
    return 0


def _counter_path() -> Path | None:
    folder = memory_cgroup()
    if folder is None:
        return None
    found = [folder / name for name in ("memory.events", "memory.oom_control")]
    return next((path for path in found if path.exists()), None)

"""Whether the kernel kills processes of this job for their memory."""

from __future__ import annotations

from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")


class OutOfMemoryCounter:
    """Counts the kills in this process's memory cgroup, where there is one to be read."""

    def __init__(self) -> None:
        self._path = _counter_path()
        self._seen = self._count()

    def has_grown(self) -> bool:
        """Whether there were kills since the last look."""
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
    """The number beside `oom_kill` in memory.events (cgroup 2) or memory.oom_control (cgroup 1)."""
    for line in text.splitlines():
        name, _, number = line.partition(" ")
        if name == "oom_kill":
            return int(number)
    return 0


def _counter_path() -> Path | None:
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            candidate = _CGROUPS / path.lstrip("/") / "memory.events"
        elif "memory" in controllers.split(","):
            candidate = _CGROUPS / "memory" / path.lstrip("/") / "memory.oom_control"
        else:
            continue
        if candidate.exists():
            return candidate
    return None

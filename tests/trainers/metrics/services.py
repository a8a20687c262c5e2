"""The processes of W&B."""

from __future__ import annotations

from pathlib import Path


def services_of(pid: int) -> list[int]:
    """The W&B processes that a process has started, and those that they have."""
    below = []
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, children.read_text().split()):
            if Path(f"/proc/{child}/comm").read_text().startswith("wandb"):
                below += [child, *services_of(child)]
    return below


def living(pids: list[int]) -> list[int]:
    """Those that still run; a zombie does not."""
    return [pid for pid in pids if _state(pid) not in ("", "Z")]


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]
    except (FileNotFoundError, ProcessLookupError):
        return ""

"""The processes of W&B."""

from __future__ import annotations

from pathlib import Path

from scripts.workloads.processes import children, is_running


def services_of(pid: int) -> list[int]:
    """The W&B processes that a process has started, and those that they have."""
    below = []
    for child in children(pid):
        if Path(f"/proc/{child}/comm").read_text().startswith("wandb"):
            below += [child, *services_of(child)]
    return below


def living(pids: list[int]) -> list[int]:
    """Those that still run."""
    return [pid for pid in pids if is_running(pid)]

"""The processes of a stream."""

from __future__ import annotations

import os
from pathlib import Path


def children(pid: int | None = None) -> set[int]:
    """Processes that a process has started, and that have not ended."""
    text = Path(f"/proc/{pid or os.getpid()}/task").glob("*/children")
    return {int(each) for path in text for each in path.read_text().split()}

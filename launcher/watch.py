"""Look at runs until nothing happens to them any more."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from launcher.status import RunStatus, read_statuses
from trainers.run_folder import RunFolder


def watch(runs: Sequence[RunFolder], *, poll_s: float = 1.0) -> Iterator[list[RunStatus]]:
    """The statuses again and again; the last ones are final."""
    while True:
        statuses = read_statuses(runs)
        yield statuses
        if not any(map(is_under_way, statuses)):
            return
        time.sleep(poll_s)


def is_under_way(status: RunStatus) -> bool:
    """Whether the run will change by itself; a living supervisor may still have words to add."""
    return status.is_supervised or status.state in ("submitted", "running")

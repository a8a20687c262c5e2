"""Poll runs until they stop changing on their own."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

from launcher.monitor.job_status import JobPoller
from launcher.monitor.status import RunStatus, read_statuses
from trainers.run.run_folder import RunFolder
from trainers.run.run_state import Status


def watch(runs: Sequence[RunFolder], *, poll_s: float = 1.0) -> Iterator[list[RunStatus]]:
    """Yield the statuses once per poll; the last ones are final."""
    jobs = JobPoller()
    while True:
        statuses = read_statuses(runs, jobs=jobs)
        yield statuses
        if not any(map(is_under_way, statuses)):
            return
        time.sleep(poll_s)


def is_under_way(status: RunStatus) -> bool:
    """Return whether the run may change without a new submission."""
    return status.is_expected or status.state == Status.RUNNING


def make_is_over(run: RunFolder) -> Callable[[], bool]:
    """Return a function that polls the run and returns whether it no longer changes."""
    jobs = JobPoller()
    return lambda: not any(map(is_under_way, read_statuses([run], jobs=jobs)))

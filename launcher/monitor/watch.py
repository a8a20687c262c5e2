"""Poll runs until they stop changing on their own."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

from launcher.monitor.job_poller import JobPoller
from launcher.monitor.status import RunStatus, read_statuses
from trainers.run.run_folder import RunFolder
from trainers.run.run_state import Status

_REST = 3.0
"""Seconds of rest for each second of reading: a thousand runs on a shared file system."""


def watch(runs: Sequence[RunFolder], *, poll_s: float = 1.0) -> Iterator[list[RunStatus]]:
    """Yield the statuses once per poll; the last ones are final."""
    jobs = JobPoller()
    while True:
        began_s = time.monotonic()
        statuses = read_statuses(runs, jobs=jobs)
        took_s = time.monotonic() - began_s
        yield statuses
        if not any(map(is_under_way, statuses)):
            return
        time.sleep(max(poll_s, _REST * took_s) if poll_s else 0)


def is_under_way(status: RunStatus) -> bool:
    """Return whether the run may change without a new submission."""
    return status.is_expected or status.state == Status.RUNNING


def make_is_over(run: RunFolder) -> Callable[[], bool]:
    """Return a function that polls the run and returns whether it no longer changes."""
    jobs = JobPoller()
    return lambda: not any(map(is_under_way, read_statuses([run], jobs=jobs)))

"""Look at runs until nothing happens to them any more."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

from launcher.monitor.job_status import JobWatch
from launcher.monitor.status import RunStatus, read_statuses
from trainers.run.run_folder import RunFolder
from trainers.run.run_state import Status


def watch(runs: Sequence[RunFolder], *, poll_s: float = 1.0) -> Iterator[list[RunStatus]]:
    """The statuses again and again; the last ones are final."""
    jobs = JobWatch()
    while True:
        statuses = read_statuses(runs, jobs=jobs)
        yield statuses
        if not any(map(is_under_way, statuses)):
            return
        time.sleep(poll_s)


def is_under_way(status: RunStatus) -> bool:
    """Whether the run may change by itself."""
    return status.is_expected or status.state == Status.RUNNING


def end_of(run: RunFolder) -> Callable[[], bool]:
    """Tells, whenever it is called, whether nothing happens to the run any more by itself."""
    jobs = JobWatch()
    return lambda: not any(map(is_under_way, read_statuses([run], jobs=jobs)))

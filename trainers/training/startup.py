"""Start-up of a trainer process: data workers and checkpoint reads start before torch is imported.

Importing torch and gunpowder takes about 6 s of every resume on two cores (torch alone 3.4 s).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from attrs import frozen

from trainers.config.run_config import RunConfig
from trainers.distributed.rank_info import RankInfo
from trainers.run.backoff import never
from trainers.run.run_record import RunRecord
from trainers.stream.worker_pool import WorkerPool
from trainers.training.restore import CheckpointPrefetch

_END_TIMEOUT_S = 10.0
"""A file system that hangs must not keep the process; the kernel ends its read with it."""


class StartTimes:
    """Seconds of the parts of a start-up on the main thread, each from the end of the one before.

    The first part starts with the process itself, to a hundredth of a second.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        """By part; they add up to `total_s`."""
        self._began = time.monotonic() - _age_of_process_s()
        self._last = self._began

    def end(self, part: str, *, seconds_ago: float = 0.0) -> None:
        """Record the end of a part; seconds of a part that ends again are added."""
        now = time.monotonic() - seconds_ago
        self.seconds[part] = self.seconds.get(part, 0.0) + now - self._last
        self._last = now

    @property
    def total_s(self) -> float:
        """Seconds from the start of the process to the end of the last part."""
        return self._last - self._began

    def __str__(self) -> str:
        return ", ".join(f"{part} {seconds:.2f} s" for part, seconds in self.seconds.items())


def _age_of_process_s() -> float:
    # Field 22 of /proc/PID/stat, in clock ticks since boot: the interpreter's own start-up and
    # imports count, which no clock that is read in Python can see.
    started = Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19]
    ticks_a_second = os.sysconf("SC_CLK_TCK")
    return time.clock_gettime(time.CLOCK_BOOTTIME) - int(started) / ticks_a_second


@frozen
class Startup:
    """What runs in the background while torch is imported."""

    times: StartTimes
    record: RunRecord
    workers: WorkerPool
    prefetch: CheckpointPrefetch


@contextmanager
def background_startup(
    record: RunRecord,
    config: RunConfig,
    rank_info: RankInfo,
    times: StartTimes,
    should_stop: Callable[[], bool] = never,
) -> Iterator[Startup]:
    """Start data workers and the prefetch of the checkpoint; wait for both to end at exit.

    Args:
        should_stop: Polled while the checkpoint is read.
    """
    with config.trainer.worker_pool(rank_info.local_size) as workers:
        prefetch = CheckpointPrefetch(record, config, rank_info, should_stop)
        try:
            yield Startup(times, record, workers, prefetch)
        finally:
            prefetch.wait(_END_TIMEOUT_S)

"""What a trainer process begins before torch is there, so that nothing is left to wait for then."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from attrs import frozen

from trainers.config.run_config import RunConfig
from trainers.distributed.rank_info import RankInfo
from trainers.run.run_folder import RunFolder
from trainers.stream.worker_pool import WorkerPool
from trainers.training.restore import Restoration


class StartTimes:
    """The parts of a start on the main thread, each from the end of the one before.

    The first one begins with the process, to a hundredth of a second.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        """By part; all of them together are the time since the start."""
        self._began = time.monotonic() - _age_of_process_s()
        self._last = self._began

    def end(self, part: str, *, seconds_ago: float = 0.0) -> None:
        """A part has ended; one that comes again is added to what it was."""
        now = time.monotonic() - seconds_ago
        self.seconds[part] = self.seconds.get(part, 0.0) + now - self._last
        self._last = now

    @property
    def total_s(self) -> float:
        """From the start of the process to the end of the last part."""
        return self._last - self._began

    def __str__(self) -> str:
        return ", ".join(f"{part} {seconds:.2f} s" for part, seconds in self.seconds.items())


def _age_of_process_s() -> float:
    started = Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19]
    ticks_a_second = os.sysconf("SC_CLK_TCK")
    return time.clock_gettime(time.CLOCK_BOOTTIME) - int(started) / ticks_a_second


@frozen
class EarlyStart:
    """What is under way."""

    times: StartTimes
    workers: WorkerPool
    restoration: Restoration


@contextmanager
def early_start(
    folder: RunFolder, config: RunConfig, rank_info: RankInfo, times: StartTimes
) -> Iterator[EarlyStart]:
    """Start the data workers, and reading the checkpoint; nothing of it is left afterwards."""
    with config.trainer.worker_pool(rank_info.local_size) as reserve:
        restoration = Restoration(folder, config, rank_info)
        try:
            yield EarlyStart(times, reserve, restoration)
        finally:
            restoration.wait()

"""What a trainer process begins before torch is there, so that nothing is left to wait for then."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from attrs import frozen

from trainers.rank_place import RankPlace
from trainers.restoration import Restoration
from trainers.run_config import RunConfig
from trainers.run_folder import RunFolder
from trainers.start_times import StartTimes
from trainers.stream.worker_reserve import WorkerReserve
from trainers.temporaries import Fence


@frozen
class EarlyStart:
    """What is under way."""

    times: StartTimes
    worker_reserve: WorkerReserve
    restoration: Restoration


@contextmanager
def early_start(
    folder: RunFolder, config: RunConfig, place: RankPlace, times: StartTimes, fence: Fence
) -> Iterator[EarlyStart]:
    """Start the data workers, and reading the checkpoint; nothing of it is left afterwards.

    Args:
        fence: See `temporaries`; of the first rank, which holds the run's lease.
    """
    with config.trainer.worker_reserve(place.local_size) as reserve:
        restoration = Restoration(folder, config, place, fence)
        try:
            yield EarlyStart(times, reserve, restoration)
        finally:
            restoration.wait()

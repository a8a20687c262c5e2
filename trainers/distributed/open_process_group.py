"""Join the other ranks of an attempt."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

from trainers.distributed.process_group import ALONE, ProcessGroup
from trainers.distributed.rank_info import RankInfo
from trainers.run.run_folder import RunFolder

TIMEOUT = timedelta(minutes=10)
"""How long ranks wait for each other: at the start, in an iteration, while rank 0 saves."""


@contextmanager
def open_process_group(
    folder: RunFolder,
    attempt: int,
    should_stop: Callable[[], bool],
    *,
    timeout: timedelta = TIMEOUT,
) -> Iterator[ProcessGroup | None]:
    """Meet the other ranks of an attempt, as many as torchrun's variables tell.

    Gives None when a rank was asked to stop before all of them were there.

    Args:
        attempt: The same number for all ranks of an attempt, and another for each attempt.
        timeout: Ranks wait for each other no longer than that, now and later.

    Raises:
        ConfigError: The variables do not go together.
        RankError: Others did not come in time; or, from the body, others have failed.
    """
    rank_info = RankInfo.from_environment()
    if rank_info.world_size == 1:
        yield ALONE
        return
    from trainers.distributed.rendezvous import meet

    store = meet(folder, attempt, rank_info, should_stop, timeout=timeout)
    if store is None:
        yield None
        return
    from trainers.distributed.distributed_group import DistributedGroup

    with DistributedGroup(rank_info, store, timeout) as group:
        yield group

"""Open the process group of an attempt: rendezvous, then torch.distributed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

from trainers.distributed.process_group import ALONE, ProcessGroup
from trainers.distributed.rank_info import RankInfo
from trainers.run.run_folder import RunFolder

TIMEOUT = timedelta(minutes=10)
"""How long ranks wait for each other at the rendezvous."""


@contextmanager
def open_process_group(
    folder: RunFolder,
    attempt: int,
    should_stop: Callable[[], bool],
    *,
    timeout: timedelta = TIMEOUT,
) -> Iterator[ProcessGroup | None]:
    """Yield the process group of an attempt, with the world size that torchrun's variables give.

    Yields None if a rank was asked to stop before all of them had joined. A single rank imports
    nothing of torch.distributed.

    Args:
        attempt: The same number on all ranks of an attempt, another one in each attempt.
        timeout: Of the rendezvous.

    Raises:
        ConfigError: The variables contradict each other.
        RankError: Other ranks did not join in time; or, from the body, other ranks have failed.
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

    with DistributedGroup(rank_info, store) as group:
        yield group

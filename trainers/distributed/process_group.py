"""The processes that train one run together."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from trainers.distributed.rank_info import RankPlace, uneven_batch
from trainers.errors import ConfigError
from trainers.run.atomic_write import Fence, unfenced
from trainers.run.run_folder import RunFolder

if TYPE_CHECKING:
    import numpy.typing as npt
    import torch

    from trainers.architectures.model import Model

TIMEOUT = timedelta(minutes=10)
"""How long ranks wait for each other: at the start, in an iteration, while rank 0 saves."""


class ProcessGroup:
    """A run's ranks as one of them sees them. This one is alone: there is nothing to agree on.

    The others of these are called by all ranks, in the same order: whoever comes first waits.
    """

    def __init__(self, place: RankPlace) -> None:
        self.rank = place.rank
        self.size = place.size
        self.local_rank = place.local_rank
        self.local_size = place.local_size

    @property
    def is_first(self) -> bool:
        """Whether this is the rank that writes: state, events, metrics, checkpoints, snapshots."""
        return self.rank == 0

    def part_of(self, batch_size: int) -> range:
        """The samples of each batch that are this rank's.

        Raises:
            ConfigError: The ranks cannot share the batch evenly.
        """
        if batch_size % self.size:
            raise ConfigError(uneven_batch(batch_size, self.size))
        share = batch_size // self.size
        return range(self.rank * share, (self.rank + 1) * share)

    def agree(self, stop: bool) -> bool:
        """Whether any rank wants to stop; on all ranks the same."""
        return stop

    def total(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The sums of numbers over all ranks; on all ranks the same bits."""
        return values

    def mean(self, value: float) -> float:
        """The mean of a number over all ranks; on all ranks the same bits."""
        return value

    def decided_by_first(self, value: int) -> int:
        """What the first rank gives, on all ranks."""
        return value

    def wait_for_all(self) -> None:
        """Return once every rank is here."""

    def replicate(self, model: Model) -> torch.nn.Module:
        """A module to call in place of the model, whose gradients are the mean over all ranks.

        They are after `backward` what one rank would have found that has the whole batch, if the
        mean of the ranks' losses is its loss.
        """
        return model

    def without_reduction(self, replica: torch.nn.Module) -> AbstractContextManager[None]:
        """While it lasts, `forward` and `backward` of a replica add to this rank's gradients only.

        The next `backward` after it takes the mean of all that was added up.
        """
        return nullcontext()

    def add_pairwise(self, vector: torch.Tensor) -> None:
        """Turn a vector into the sum of those of all ranks, in place; on all ranks the same bits.

        Pairs of neighbors are added up, then pairs of these sums, and so on, so that the number of
        ranks must be a power of two.
        """


ALONE = ProcessGroup(RankPlace())


@contextmanager
def open_process_group(
    folder: RunFolder,
    attempt: int,
    should_stop: Callable[[], bool],
    *,
    timeout: timedelta = TIMEOUT,
    fence: Fence = unfenced,
) -> Iterator[ProcessGroup | None]:
    """Meet the other ranks of an attempt, as many as torchrun's variables tell.

    Gives None when a rank was asked to stop before all of them were there.

    Args:
        attempt: The same number for all ranks of an attempt, and another for each attempt.
        timeout: Ranks wait for each other no longer than that, now and later.
        fence: See `temporaries`; of the first rank.

    Raises:
        ConfigError: The variables do not go together.
        RankError: Others did not come in time; or, from the body, others have failed.
    """
    place = RankPlace.from_environment()
    if place.size == 1:
        yield ALONE
        return
    from trainers.distributed.rendezvous import meet

    store = meet(folder, attempt, place, should_stop, timeout=timeout, fence=fence)
    if store is None:
        yield None
        return
    from trainers.distributed.distributed_group import DistributedGroup

    with DistributedGroup(place, store, timeout) as group:
        yield group

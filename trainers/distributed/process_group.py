"""The process group: the ranks that train one run, and their collective operations."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, TypeVar

from trainers.distributed.rank_info import RankInfo, uneven_batch
from trainers.errors import (
    ConfigError,
    DataError,
    StopRequestedError,
    StreamError,
    UnavailableError,
)

if TYPE_CHECKING:
    import numpy.typing as npt
    import torch

    from trainers.architectures.model import Model

T = TypeVar("T")

INTERRUPTIONS = (StopRequestedError, DataError, UnavailableError, StreamError, MemoryError)
"""What ends the wait of one rank, and with it that of the others: see `all_or_none`."""


class ProcessGroup:
    """A process group of one rank: its collective operations return at once.

    In the derived group of several ranks all ranks call these methods, in the same order; a call
    blocks until the others have made it too.
    """

    def __init__(self, rank_info: RankInfo) -> None:
        self.rank = rank_info.rank
        self.world_size = rank_info.world_size
        self.local_rank = rank_info.local_rank
        self.local_size = rank_info.local_size

    @property
    def is_rank_zero(self) -> bool:
        """Whether this is the rank that writes: state, events, metrics, checkpoints, snapshots."""
        return self.rank == 0

    def local_slice(self, batch_size: int) -> range:
        """Return the indices of this rank's samples in each batch.

        Raises:
            ConfigError: The ranks cannot share the batch evenly.
        """
        if batch_size % self.world_size:
            raise ConfigError(uneven_batch(batch_size, self.world_size))
        share = batch_size // self.world_size
        return range(self.rank * share, (self.rank + 1) * share)

    def any_rank(self, stop: bool) -> bool:
        """Return whether any rank passes true; the same on all ranks."""
        return stop

    def all_or_none(self, prepare: Callable[[], T]) -> T:
        """Return what `prepare` returns, if no rank is interrupted while it prepares.

        Otherwise all ranks raise, so that none goes on alone, and all can leave in good order.

        Raises:
            StopRequestedError: A stop was requested, or another rank was interrupted.
            DataError, StreamError: What interrupted this rank.
        """
        interruption: Exception | None = None
        try:
            prepared = prepare()
        except INTERRUPTIONS as error:
            interruption = error
        if self.any_rank(interruption is not None):
            raise interruption or StopRequestedError("another rank was interrupted, and says why")
        return prepared

    def all_reduce_sum(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return the elementwise sum over all ranks; the same bits on all of them."""
        return values

    def all_reduce_mean(self, value: float) -> float:
        """Return the mean over all ranks; the same bits on all of them."""
        return value

    def broadcast_from_rank0(self, value: int) -> int:
        """Return the value that rank 0 passes, on all ranks."""
        return value

    def barrier(self) -> None:
        """Return once every rank is here."""

    def wrap_ddp(self, model: Model) -> torch.nn.Module:
        """Return a module to call in place of the model, whose gradients are means over all ranks.

        After `backward` they are those of the whole batch, if its loss is the mean of the ranks'
        losses.
        """
        return model

    def no_sync(self, replica: torch.nn.Module) -> AbstractContextManager[None]:
        """Accumulate gradients of the replica on this rank only, inside of the context.

        The first `backward` after it reduces all that was accumulated.
        """
        return nullcontext()

    def tree_all_reduce_(self, vector: torch.Tensor) -> None:
        """Sum a vector over all ranks in place, by pairwise summation; the same bits on all ranks.

        Neighbors are added in pairs, then pairs of these sums, and so on, so the world size must be
        a power of two. See `trainers.training.gradient_tree` for why the order is fixed.
        """


ALONE = ProcessGroup(RankInfo())

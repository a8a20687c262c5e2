"""The processes that train one run together."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from trainers.distributed.rank_info import RankInfo, uneven_batch
from trainers.errors import ConfigError

if TYPE_CHECKING:
    import numpy.typing as npt
    import torch

    from trainers.architectures.model import Model


class ProcessGroup:
    """A run's ranks as one of them sees them. This one is alone: there is nothing to agree on.

    The others of these are called by all ranks, in the same order: whoever comes first waits.
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
        """The samples of each batch that are this rank's.

        Raises:
            ConfigError: The ranks cannot share the batch evenly.
        """
        if batch_size % self.world_size:
            raise ConfigError(uneven_batch(batch_size, self.world_size))
        share = batch_size // self.world_size
        return range(self.rank * share, (self.rank + 1) * share)

    def any_rank(self, stop: bool) -> bool:
        """Whether any rank wants to stop; on all ranks the same."""
        return stop

    def all_reduce_sum(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The sums of numbers over all ranks; on all ranks the same bits."""
        return values

    def all_reduce_mean(self, value: float) -> float:
        """The mean of a number over all ranks; on all ranks the same bits."""
        return value

    def broadcast_from_rank0(self, value: int) -> int:
        """What the first rank gives, on all ranks."""
        return value

    def barrier(self) -> None:
        """Return once every rank is here."""

    def wrap_ddp(self, model: Model) -> torch.nn.Module:
        """A module to call in place of the model, whose gradients are the mean over all ranks.

        They are after `backward` what one rank would have found that has the whole batch, if the
        mean of the ranks' losses is its loss.
        """
        return model

    def no_sync(self, replica: torch.nn.Module) -> AbstractContextManager[None]:
        """While it lasts, `forward` and `backward` of a replica add to this rank's gradients only.

        The next `backward` after it takes the mean of all that was added up.
        """
        return nullcontext()

    def tree_all_reduce_(self, vector: torch.Tensor) -> None:
        """Turn a vector into the sum of those of all ranks, in place; the same bits on all ranks.

        Pairs of neighbors are added up, then pairs of these sums, and so on, so that the number of
        ranks must be a power of two.
        """


ALONE = ProcessGroup(RankInfo())

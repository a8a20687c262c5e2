"""Several ranks that train one run, by way of torch.distributed."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, suppress
from datetime import timedelta
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy.typing as npt
import torch
from torch import distributed
from torch.distributed import PrefixStore, TCPStore  # type: ignore[attr-defined]
from torch.nn.parallel import DistributedDataParallel

from trainers.distributed.process_group import ProcessGroup
from trainers.distributed.rank_info import RankInfo
from trainers.errors import RankError

if TYPE_CHECKING:
    from trainers.architectures.model import Model

_FAILURE = "failure"


class DistributedGroup(ProcessGroup):
    """Gradients go by NCCL between GPUs and by gloo between CPUs, everything else by gloo.

    Args:
        store: All ranks are connected to it.
        timeout: After so long an operation that a rank takes no part in fails on the others. That
            of a rank that has ended fails at once.
    """

    def __init__(self, rank_info: RankInfo, store: TCPStore, timeout: timedelta) -> None:
        super().__init__(rank_info)
        self._store = store
        self._timeout = timeout
        if rank_info.is_on_one_node:
            for name in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"):
                os.environ.setdefault(name, "lo")

    def __enter__(self) -> Self:
        has_gpu = torch.cuda.is_available()
        if has_gpu:
            torch.cuda.set_device(self.local_rank % torch.cuda.device_count())
        distributed.init_process_group(
            "nccl" if has_gpu else "gloo",
            store=PrefixStore("gradients", self._store),
            rank=self.rank,
            world_size=self.world_size,
            timeout=self._timeout,
        )
        # of its own: what is agreed on must not queue behind gradients, nor need a GPU
        self._control = distributed.new_group(backend="gloo", timeout=self._timeout)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if exc_value is None:
            distributed.destroy_process_group()
        elif isinstance(exc_value, Exception):
            self._blame(exc_value)

    def any_rank(self, stop: bool) -> bool:
        votes = torch.tensor(int(stop))
        self._reduce(votes, self._control, distributed.ReduceOp.MAX)
        return bool(votes)

    def all_reduce_sum(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        totals = torch.from_numpy(values.copy())
        self._reduce(totals, self._control)
        result: npt.NDArray[Any] = totals.numpy()
        return result

    def all_reduce_mean(self, value: float) -> float:
        total = torch.tensor(value, dtype=torch.float64)
        self._reduce(total, self._control)
        return total.item() / self.world_size

    def broadcast_from_rank0(self, value: int) -> int:
        decision = torch.tensor(value if self.is_rank_zero else 0)
        self._reduce(decision, self._control)
        return int(decision)

    def barrier(self) -> None:
        self.any_rank(False)

    def wrap_ddp(self, model: Model) -> torch.nn.Module:
        # After its first iteration DDP re-orders its buckets, and with them the sums inside of a
        # reduction: a resumed run would round otherwise. Not if parameters may be unused, though.
        return DistributedDataParallel(model, find_unused_parameters=True)

    def no_sync(self, replica: torch.nn.Module) -> AbstractContextManager[None]:
        assert isinstance(replica, DistributedDataParallel)
        synced: AbstractContextManager[None] = replica.no_sync()
        return synced

    def tree_all_reduce_(self, vector: torch.Tensor) -> None:
        for pair in self._pairs:
            self._reduce(vector, pair)

    @cached_property
    def _pairs(self) -> list[distributed.ProcessGroup]:
        """Groups of two ranks: this one, and the one at a distance of 1, of 2, of 4, …

        Of two terms every reduction makes the same sum, whichever way it goes.
        """
        own = []
        for distance in (1 << level for level in range(self.world_size.bit_length() - 1)):
            for first in (rank for rank in range(self.world_size) if not rank & distance):
                pair = [first, first | distance]
                group = distributed.new_group(pair, timeout=self._timeout)  # all ranks must call it
                if self.rank in pair:
                    own.append(group)
        return own

    def _reduce(
        self,
        tensor: torch.Tensor,
        group: distributed.ProcessGroup,
        operation: Any = distributed.ReduceOp.SUM,
    ) -> None:
        try:
            distributed.all_reduce(tensor, operation, group=group)
        except RuntimeError as error:
            raise RankError(f"rank {self.rank} has lost another one: {error}") from error

    def _blame(self, error: Exception) -> None:
        """Tell the others why this rank fails, or raise why another one has failed before.

        That another one has ended shows as a RankError, or in DDP as a RuntimeError.
        """
        told = f"rank {self.rank} has failed: {type(error).__name__}: {error}"
        with suppress(distributed.DistError):  # rank 0, who keeps the store, may be gone
            first = self._store.compare_set(_FAILURE, "", told).decode()
            if first != told and (isinstance(error, RankError) or type(error) is RuntimeError):
                raise RankError(first) from error

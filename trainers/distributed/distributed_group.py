"""The process group of a run on several ranks: torch.distributed with NCCL and gloo."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from contextlib import AbstractContextManager, suppress
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import numpy.typing as npt
import torch
from torch import distributed
from torch.distributed import PrefixStore, TCPStore  # type: ignore[attr-defined]
from torch.nn.parallel import DistributedDataParallel

from trainers.distributed.process_group import ProcessGroup
from trainers.distributed.rank_info import RankInfo
from trainers.distributed.rendezvous import own_interface
from trainers.errors import RankError
from trainers.run.sections import SECTIONS, Section, section

if TYPE_CHECKING:
    from trainers.architectures.model import Model

_FAILURE = "failure"
_TIMEOUT = timedelta(days=14)
"""Of a collective operation that some rank does not join; if that rank's process has ended, it
fails at once. It is the watchdog that ends ranks which hang: unlike torch's, its clock stands still
while a job is suspended."""
_PERIOD_S = 1.0
_ASK_AFTER = 1 / 6
"""The part of its bound for which a rank is without progress before it asks about its peers."""


class DistributedGroup(ProcessGroup):
    """Gradients are reduced by NCCL between GPUs and by gloo between CPUs, all else by gloo.

    Args:
        store: The key-value store that all ranks are connected to.
    """

    def __init__(self, rank_info: RankInfo, store: TCPStore) -> None:
        super().__init__(rank_info)
        self._store = store
        if rank_info.is_on_one_node:
            # Otherwise gloo binds to the address of the host name, which may not resolve, and is
            # open to the network.
            for name in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"):
                os.environ.setdefault(name, "lo")
        elif "GLOO_SOCKET_IFNAME" not in os.environ and (interface := own_interface()):
            os.environ["GLOO_SOCKET_IFNAME"] = interface

    def __enter__(self) -> Self:
        has_gpu = torch.cuda.is_available()
        if has_gpu:
            torch.cuda.set_device(self.local_rank % torch.cuda.device_count())
        distributed.init_process_group(
            "nccl" if has_gpu else "gloo",
            store=PrefixStore("gradients", self._store),
            rank=self.rank,
            world_size=self.world_size,
            timeout=_TIMEOUT,
        )
        # A second group, so that stop votes neither queue behind gradients nor need a GPU.
        self._control = distributed.new_group(backend="gloo", timeout=_TIMEOUT)
        self._peers = PeerProgress(
            self._store.clone(),  # type: ignore[attr-defined]
            self.rank,
            self.world_size,
        )
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        self._peers.close()
        if error is None:
            distributed.destroy_process_group()
        elif isinstance(error, Exception):
            # Not destroyed: NCCL may wait there for operations that other ranks never join.
            self._publish_failure(error)

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
        # A sum with zeros: the same value, and one code path for errors.
        decision = torch.tensor(value if self.is_rank_zero else 0)
        self._reduce(decision, self._control)
        return int(decision)

    def barrier(self) -> None:
        self.any_rank(False)

    def wrap_ddp(self, model: Model) -> torch.nn.Module:
        # Do not drop find_unused_parameters, although DDP warns that it costs time and finds none.
        # Without it DDP rebuilds its buckets after the first iteration, in the order in which
        # gradients became ready; that changes the order of sums inside an all-reduce, so a resumed
        # run, whose first iteration is another one, would differ in the last bits.
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
        """Groups of this rank and the one at a distance of 1, 2, 4, …: recursive doubling.

        A sum of two terms has the same bits in either order (addition is commutative), so both
        ranks of a pair end with the same result. An all-reduce of more ranks may use any order.
        """
        pairs = []
        for distance in (1 << level for level in range(self.world_size.bit_length() - 1)):
            for first in (rank for rank in range(self.world_size) if not rank & distance):
                pair = [first, first | distance]
                # Collective: all ranks must create all groups, in the same order.
                group = distributed.new_group(pair, timeout=_TIMEOUT)
                if self.rank in pair:
                    pairs.append(group)
        return pairs

    def _reduce(
        self,
        tensor: torch.Tensor,
        group: distributed.ProcessGroup,
        operation: Any = distributed.ReduceOp.SUM,
    ) -> None:
        try:
            with section(Section.COLLECTIVE):
                distributed.all_reduce(tensor, operation, group=group)
        except (torch.AcceleratorError, torch.OutOfMemoryError):
            raise  # of a kernel before it: this rank's own
        except RuntimeError as error:
            raise RankError(
                f"rank {self.rank} lost its connection to another rank: {error}"
            ) from error

    def _publish_failure(self, error: Exception) -> None:
        """Publish why this rank fails, or raise why another one has failed before it.

        That another rank has ended shows as a RankError, or inside DDP as a bare RuntimeError of
        gloo, whose message names sockets, or as an error of NCCL. The first failure in the store is
        the one that explains the others.

        Raises:
            RankError: Another rank failed first.
        """
        message = f"rank {self.rank} has failed: {type(error).__name__}: {error}"
        try:
            first = self._store.compare_set(_FAILURE, "", message).decode()
        except distributed.DistError:
            first = f"rank 0, which hosts the store, has ended: {error}"
        may_follow = isinstance(error, RankError | distributed.DistError)
        if first != message and (may_follow or type(error) is RuntimeError):
            raise RankError(first) from error


class PeerProgress:
    """Publishes this rank's section, and counts the work of its peers as progress.

    Without that a rank in a collective operation could not tell a peer that waits for a disk,
    within its bounds, from one that hangs; and of ranks that hang together, the one at fault would
    not be named.

    Args:
        store: A connection of its own: a peer that is stopped may block it.
    """

    def __init__(self, store: TCPStore, rank: int, num_ranks: int) -> None:
        self._store = store
        self._rank = rank
        self._peers = [_section_key(peer) for peer in range(num_ranks) if peer != rank]
        self._seen: Sequence[bytes] = ()
        self._main = threading.get_ident()
        self._is_closed = threading.Event()
        self._thread = threading.Thread(target=self._work, name="peers", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop publishing; a call to the store that blocks is left behind."""
        self._is_closed.set()
        self._thread.join(2 * _PERIOD_S)

    def _work(self) -> None:
        count = 0
        with suppress(distributed.DistError):  # rank 0, which hosts the store, has ended
            while not self._is_closed.wait(_PERIOD_S):
                count += 1
                own = SECTIONS.current(self._main)
                self._store.set(_section_key(self._rank), f"{count} {own}")
                if own and SECTIONS.silent_s(self._main) > _ASK_AFTER * SECTIONS.bound_s(own):
                    self._look(own)
                else:
                    self._seen = ()  # what has changed since long ago is no progress now

    def _look(self, own: Section) -> None:
        if not self._store.check(self._peers):
            return
        before, self._seen = self._seen, self._store.multi_get(self._peers)
        for old, new in zip(before, self._seen, strict=False):
            if new != old and is_waited_for(own, new.decode().partition(" ")[2]):
                SECTIONS.beat(own)


def is_waited_for(own: Section, theirs: str) -> bool:
    """Return whether a rank in one section may wait for a peer that is in another one.

    Gradients are reduced within a step, so that steps wait for each other: which one hangs, if both
    do, their stacks say.
    """
    if own is Section.COLLECTIVE:
        return theirs != Section.COLLECTIVE
    return own is Section.STEP and theirs not in (Section.STEP, Section.COLLECTIVE)


def _section_key(rank: int) -> str:
    return f"section/{rank}"

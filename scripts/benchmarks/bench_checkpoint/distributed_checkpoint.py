"""The modes of torch.distributed.checkpoint, with its own fsync on."""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed import checkpoint as dcp
from torch.distributed.checkpoint.staging import DefaultStager, StagingOptions
from torch.distributed.checkpoint.state_dict_saver import AsyncCheckpointerType

from scripts.benchmarks.bench_checkpoint.contestant import Contestant, LoadingContestant, at_once
from scripts.benchmarks.bench_checkpoint.network import tensors_of


class DcpSync(LoadingContestant):
    """It loads into tensors that are there, as torch's own trainers let it."""

    name = "DCP, sync"

    def start(self, index: int, state_of: Callable[[], dict[str, Any]]) -> Future[float]:
        dcp.save(state_of(), checkpoint_id=self.path(index))
        return at_once()

    def prepare_load(self, state: dict[str, Any]) -> None:
        self._target = _like(state)

    def load(self) -> dict[str, torch.Tensor]:
        dcp.load(self._target, checkpoint_id=self.newest)
        return tensors_of(self._target)


class _DcpAsync(Contestant):
    checkpointer: AsyncCheckpointerType

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        # kept from save to save: without it, each save takes new memory. Without a GPU it can
        # neither pin memory nor copy beside the training
        self._stager = DefaultStager(
            StagingOptions(
                use_pinned_memory=False,
                use_shared_memory=self.checkpointer is AsyncCheckpointerType.PROCESS,
                use_async_staging=False,
                use_non_blocking_copy=False,
            )
        )

    def start(self, index: int, state_of: Callable[[], dict[str, Any]]) -> Future[float]:
        moment: Future[float] = Future()

        def tell(saved: Future[Any]) -> None:
            if error := saved.exception():
                moment.set_exception(error)
            else:
                moment.set_result(perf_counter())

        saved = dcp.async_save(
            state_of(),
            checkpoint_id=self.path(index),
            async_checkpointer_type=self.checkpointer,
            async_stager=self._stager,
        )
        assert isinstance(saved, Future)
        saved.add_done_callback(tell)
        return moment

    def close(self) -> None:
        self._stager.close()


class DcpThread(_DcpAsync):
    name = "DCP, async thread"
    checkpointer = AsyncCheckpointerType.THREAD


class DcpProcess(_DcpAsync):
    """Its process is up before anything is timed."""

    name = "DCP, async process"
    checkpointer = AsyncCheckpointerType.PROCESS

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        with _silent_children():
            self.start(0, lambda: {"nothing": torch.zeros(1)}).result()
        shutil.rmtree(self.path(0))


def join_a_group_of_one() -> None:
    """What `torch.distributed.checkpoint` needs to save asynchronously."""
    warnings.filterwarnings("ignore", module="torch.distributed")
    os.environ["MASTER_ADDR"] = "127.0.0.1"
    store = dist.HashStore()  # type: ignore[attr-defined]  # torch does not export it
    dist.init_process_group("gloo", store=store, rank=0, world_size=1)


@contextmanager
def _silent_children() -> Iterator[None]:
    """Processes that are started meanwhile cannot tell of every save on stderr."""
    kept = os.dup(2)
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _like(state: Any) -> Any:
    """A state of the same layout, in memory that has been touched."""
    match state:
        case torch.Tensor():
            return torch.ones_like(state)
        case dict():
            return {key: _like(value) for key, value in state.items()}
    return state

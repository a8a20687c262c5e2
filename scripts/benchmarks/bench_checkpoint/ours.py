"""This project's checkpoints, as training and restoring use them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from time import perf_counter
from typing import Any

import torch

from scripts.benchmarks.bench_checkpoint.contestant import Contestant, LoadingContestant
from scripts.benchmarks.bench_checkpoint.network import tensors_of
from trainers.checkpoints.async_checkpointer import AsyncCheckpointer
from trainers.checkpoints.checkpoint_reader import CheckpointReader
from trainers.checkpoints.checkpoint_store import CheckpointStore

_IDENTITY = "benchmark"


class Ours(LoadingContestant):
    """The store keeps as many checkpoints as it does by itself."""

    name = "ours"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._moment: Future[float] = Future()
        self._saver = AsyncCheckpointer(
            CheckpointStore(folder, fingerprint=_IDENTITY),
            on_commit=lambda _: self._moment.set_result(perf_counter()),
            on_failure=lambda _, error: self._moment.set_exception(error),
        )
        self._is_prepared = False

    def prepare(self, index: int, state: dict[str, Any]) -> None:
        if not self._is_prepared:
            self._saver.prepare(state)
            self._saver.wait()
            self._is_prepared = True

    def start(self, index: int, state_of: Callable[[], dict[str, Any]]) -> Future[float]:
        self._moment = Future()
        begun = self._saver.start(index, state_of())
        assert begun, "the save before is still in flight"
        return self._moment

    def load(self) -> dict[str, torch.Tensor]:
        return tensors_of(self.load_state())

    def load_state(self) -> dict[str, Any]:
        found = CheckpointReader(self.folder, fingerprint=_IDENTITY).newest()
        assert found is not None
        state: dict[str, Any] = found.state
        return state

    def tidy(self) -> None:
        self._saver.wait()

    def close(self) -> None:
        self._saver.close()


class OursAnew(Contestant):
    """Each time the first save of a run."""

    name = "ours, first of a run"

    def prepare(self, index: int, state: dict[str, Any]) -> None:
        self._run = Ours(self.path(index))
        self._run.prepare(index, state)

    def start(self, index: int, state_of: Callable[[], dict[str, Any]]) -> Future[float]:
        return self._run.start(index, state_of)

    def tidy(self) -> None:
        self._run.close()
        shutil.rmtree(self._run.folder)

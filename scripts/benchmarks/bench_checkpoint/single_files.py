"""Formats that a save in the foreground writes into one file."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from scripts.benchmarks.bench_checkpoint.contestant import LoadingContestant, at_once, sync
from scripts.benchmarks.bench_checkpoint.network import tensors_of

_PAGE_BYTES = 4096


class TorchSave(LoadingContestant):
    name = "torch.save + fsync"

    def start(self, index: int, state_of: Callable[[], dict[str, Any]]) -> Future[float]:
        torch.save(state_of(), self.path(index))
        sync(self.path(index))
        return at_once()

    def load(self) -> dict[str, torch.Tensor]:
        return tensors_of(torch.load(self.newest, weights_only=True))


class Safetensors(LoadingContestant):
    """Its `load_file` maps the file, so that each page has to be touched for it to be read."""

    name = "safetensors + fsync"

    def start(self, index: int, state_of: Callable[[], dict[str, Any]]) -> Future[float]:
        save_file(tensors_of(state_of()), self.path(index))
        sync(self.path(index))
        return at_once()

    def load(self) -> dict[str, torch.Tensor]:
        tensors = load_file(self.newest)
        for each in tensors.values():
            each.reshape(-1).view(torch.uint8)[::_PAGE_BYTES].sum()
        return tensors

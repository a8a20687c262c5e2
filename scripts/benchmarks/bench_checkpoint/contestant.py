"""One way to save and load a state."""

from __future__ import annotations

import os
import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from time import perf_counter
from typing import Any

import torch


class Contestant(ABC):
    """Saves into a folder of its own.

    Args:
        folder: To be made.
    """

    name: str

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()

    def prepare(self, index: int, state: dict[str, Any]) -> None:  # noqa: B027
        """What a training does long before its first save; not timed."""

    @abstractmethod
    def start(self, index: int, state_of: Callable[[], dict[str, Any]]) -> Future[float]:
        """Save; the state may change on return. The result is when it was durable.

        Args:
            index: Greater each time.
        """

    def tidy(self) -> None:
        """Delete what is older than the newest; not timed."""
        for old in self._saved()[:-1]:
            shutil.rmtree(old) if old.is_dir() else old.unlink()

    def close(self) -> None:  # noqa: B027
        """Give back memory and threads."""

    @property
    def newest(self) -> Path:
        return self._saved()[-1]

    def path(self, index: int) -> Path:
        return self.folder / f"{index:09d}"

    def _saved(self) -> list[Path]:
        return sorted(self.folder.iterdir())


class LoadingContestant(Contestant):
    """Loads what it saved last, also when it is closed."""

    def prepare_load(self, state: dict[str, Any]) -> None:
        """What is there before a restart reads anything; not timed."""

    @abstractmethod
    def load(self) -> dict[str, torch.Tensor]:
        """The tensors as `tensors_of` names them, every byte of them in memory."""


def at_once() -> Future[float]:
    """For what is durable on return."""
    moment: Future[float] = Future()
    moment.set_result(perf_counter())
    return moment


def sync(path: Path) -> None:
    """Make a file durable, and its name."""
    for each in (path, path.parent):
        descriptor = os.open(each, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)

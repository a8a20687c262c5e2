"""Checkpoints to look at and to damage."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from trainers.checkpoints import CheckpointStore

IDENTITY = "0123456789abcdef"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the checkpoints of a run will be."""
    return tmp_path / "checkpoints"


@pytest.fixture
def two_saved(folder: Path) -> Path:
    """A folder with checkpoints of the iterations 10 and 20; `weight` is full of the iteration."""
    store = CheckpointStore(folder, fingerprint=IDENTITY)
    for iteration in (10, 20):
        store.save(iteration, {"weight": torch.full((7, 5), float(iteration)), "rate": 0.1})
    return folder

"""Get a trained network back."""

from __future__ import annotations

from pathlib import Path

from trainers.architectures.model import Model, build_model
from trainers.checkpoints.checkpoint_store import CheckpointStore
from trainers.config_io import read_run_config
from trainers.errors import CheckpointError
from trainers.run_folder import RunFolder


def load_model(run_folder: Path | str, iteration: int | None = None) -> Model:
    """The network of a run, in evaluation mode, on the CPU.

    Args:
        iteration: Of the checkpoint to take; the newest valid one if None.

    Raises:
        ConfigError: The folder holds no run.
        CheckpointError: The run has no such checkpoint, or it is damaged.
    """

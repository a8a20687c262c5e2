"""Load a trained network."""

from __future__ import annotations

import sys
from pathlib import Path

from trainers.architectures.model import Model, build_model
from trainers.checkpoints.checkpoint_reader import CheckpointReader
from trainers.config.config_io import read_run_config
from trainers.errors import CheckpointError, ConfigError
from trainers.run.run_folder import RunFolder


def load_model(
    run_folder: Path | str, iteration: int | None = None, *, averaged: bool = False
) -> Model:
    """Load the network of a run on the CPU, in evaluation mode: it returns predictions, not logits.

    Needs the run folder only, not the data; the run may still be training.

    Args:
        iteration: The checkpoint to load; the newest whole one if None.
        averaged: Load the moving average of the weights, which a trainer with an `ema_decay` keeps.

    Raises:
        ConfigError: The folder holds no run, or the run keeps no average.
        CheckpointError: The run has no such checkpoint, or it is damaged.
    """
    folder = RunFolder(Path(run_folder).absolute())
    config = read_run_config(folder.config)
    reader = CheckpointReader(
        folder.checkpoints,
        fingerprint=config.fingerprint,
        fingerprint_fields=config.fingerprint_fields,
    )
    checkpoint = reader.newest() if iteration is None else reader.load(iteration)
    if checkpoint is None:
        raise CheckpointError(
            f"{folder.checkpoints} has no whole checkpoint; train the run up to its first one"
        )
    sys.path += [str(path) for path in config.python_path if str(path) not in sys.path]
    model = build_model(
        config.architecture,
        num_channels=config.task.num_channels,
        activation=config.task.build_activation(),
        in_channels=checkpoint.state["in_channels"],
        seed=config.seed,
        is_restored=True,
    )
    weights = checkpoint.state["model"]
    if averaged:
        if "averaged_weights" not in checkpoint.state["trainer"]:
            raise ConfigError(
                f"{folder.config} has no trainer.ema_decay, so that no average of its weights is "
                "kept; load the weights themselves, without `averaged`"
            )
        weights |= checkpoint.state["trainer"]["averaged_weights"]
    model.load_state_dict(weights)
    return model.eval()

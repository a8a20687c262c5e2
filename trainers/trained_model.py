"""Get a trained network back."""

from __future__ import annotations

import sys
from pathlib import Path

from trainers.architectures.model import Model, build_model
from trainers.checkpoints.checkpoint_reader import CheckpointReader
from trainers.config_io import read_run_config
from trainers.errors import CheckpointError
from trainers.run_folder import RunFolder


def load_model(run_folder: Path | str, iteration: int | None = None) -> Model:
    """The network of a run on the CPU, in evaluation mode: it returns predictions, not logits.

    Needs the run folder only, not the data; the run may be in training meanwhile.

    Args:
        iteration: Of the checkpoint to take; the newest whole one if None.

    Raises:
        ConfigError: The folder holds no run.
        CheckpointError: The run has no such checkpoint, or it is damaged.
    """
    folder = RunFolder(Path(run_folder).absolute())
    config = read_run_config(folder.config)
    reader = CheckpointReader(folder.checkpoints, identity=config.identity)
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
    )
    model.load_state_dict(checkpoint.state["model"])
    return model.eval()

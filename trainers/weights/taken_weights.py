"""The checkpoint that a run's `init_from` stands for: chosen once, and recorded in its folder."""

from __future__ import annotations

import json

import attrs
from attrs import frozen

from trainers.checkpoints.verification import inspect
from trainers.errors import CheckpointError
from trainers.run.atomic_write import atomic_write, read_written
from trainers.run.run_folder import RunFolder
from trainers.weights.wandb_artifact import CheckpointArtifact, fetch


@frozen(kw_only=True)
class TakenWeights:
    """The contents of a run's `initial_weights.json`."""

    checkpoints: str
    """The folder that the checkpoint lies in."""
    iteration: int
    fingerprint: str
    """Of the other run."""
    artifact: str = ""
    """Its address at W&B, with the version, if it was taken from there."""


def read_taken(folder: RunFolder) -> TakenWeights | None:
    """Return the checkpoint that was taken before; None before the first time.

    Raises:
        CheckpointError: The file does not name one.
        OSError: It cannot be read at present.
    """
    content = read_written(folder.initial_weights)
    try:
        return None if content is None else TakenWeights(**json.loads(content))
    except (TypeError, ValueError) as error:
        raise CheckpointError(
            f"{folder.initial_weights} does not name a checkpoint: {error}. Remove it to start "
            "with what init_from stands for now"
        ) from error


def record_taken(folder: RunFolder, taken: TakenWeights) -> None:
    """Record it, for all attempts.

    Raises:
        OSError: It cannot be written.
    """
    content = attrs.asdict(taken, filter=lambda field, value: field.name != "artifact" or value)
    with atomic_write(folder.initial_weights, fence=folder.fence) as file:
        file.write(json.dumps(content).encode())


def take_artifact(artifact: CheckpointArtifact, folder: RunFolder) -> TakenWeights:
    """Fetch a checkpoint from W&B if need be, and record that the run begins with it.

    Raises:
        TrainerError, OSError: See `fetch`.
    """
    path = fetch(artifact, folder.weights_cache)
    taken = TakenWeights(
        checkpoints=str(path.parent),
        iteration=artifact.iteration,
        fingerprint=inspect(path).identity,
        artifact=str(artifact.address),
    )
    record_taken(folder, taken)
    return taken

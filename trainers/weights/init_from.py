"""Fine-tuning: start a run with the weights of another one, as far as names and shapes match."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch

from trainers.checkpoints.checkpoint import Checkpoint
from trainers.checkpoints.checkpoint_reader import CheckpointReader
from trainers.checkpoints.layout import folder_name
from trainers.config.artifact_address import WeightsPath
from trainers.errors import CheckpointError, ConfigError, StorageUnavailableError
from trainers.run.backoff import never, retry
from trainers.run.run_folder import RunFolder
from trainers.weights.taken_weights import (
    TakenWeights,
    read_taken,
    record_taken,
    take_artifact,
)
from trainers.weights.wandb_artifact import find_artifact
from trainers.weights.weights_report import WeightsReport, listed
from trainers.weights.weights_source import WeightsSource, find_weights

if TYPE_CHECKING:
    from trainers.distributed.process_group import ProcessGroup

T = TypeVar("T")
Tensors = Mapping[str, torch.Tensor]

TIMEOUT_S = 60.0
"""How long to wait for a file system; longer outages are for the next attempt."""


def load_initial_weights(
    model: torch.nn.Module,
    path: WeightsPath,
    group: ProcessGroup,
    folder: RunFolder | None = None,
    *,
    should_stop: Callable[[], bool] = never,
) -> WeightsReport:
    """Load the weights of a checkpoint whose names and shapes are those of the network.

    If the other run averages its weights, the averages are loaded. All ranks call this and load the
    checkpoint that rank 0 chooses.

    Args:
        path: See `find_weights`, or an address at W&B.
        folder: Of the run that starts. Its first attempt records there which checkpoint it took,
            and later ones take the same, although the other run may have saved newer ones since.
        should_stop: Polled while the file system is away.

    Raises:
        ConfigError: It is neither a run nor a checkpoint, nothing in it fits the network, or W&B
            has no such artifact.
        UnavailableError, OSError: It cannot be read at present, and was waited for.
        StopRequestedError: A stop was requested meanwhile, or another rank was interrupted.
        CheckpointError: There is no whole checkpoint, it has another schema version, or the one
            that was taken before is gone.
    """
    origin, checkpoint = _read_checkpoint(path, group, folder, should_stop)
    weights, averaged = _weights(checkpoint.state, origin)
    tensors = _tensors(model.state_dict())
    shared = [name for name in tensors if name in weights]
    matched = [name for name in shared if weights[name].shape == tensors[name].shape]
    if not matched:
        raise ConfigError(
            f"init_from: nothing in {origin} fits the network of this run. There: "
            f"{listed(_shown(weights, weights))}. Here: {listed(_shown(tensors, tensors))}. Some "
            "must have the same name and shape: take a run of a similar architecture, or leave "
            "init_from out."
        )
    model.load_state_dict({name: weights[name] for name in matched}, strict=False)
    return WeightsReport(
        path=str(origin),
        iteration=checkpoint.iteration,
        averaged=averaged,
        num_matched=len(matched),
        num_tensors=len(tensors),
        missing=_shown(tensors, tensors.keys() - weights.keys()),
        mismatched=tuple(
            f"{_with_shape(name, tensors)}, there {list(weights[name].shape)}"
            for name in shared
            if name not in matched
        ),
        unexpected=_shown(weights, weights.keys() - tensors.keys()),
    )


def _read_checkpoint(
    path: WeightsPath,
    group: ProcessGroup,
    folder: RunFolder | None,
    should_stop: Callable[[], bool],
) -> tuple[Path, Checkpoint]:
    """Return the checkpoint that rank 0 chooses, and its path."""

    def retried(attempt: Callable[[], T]) -> T:
        return retry(attempt, timeout_s=TIMEOUT_S, should_stop=should_stop)

    choose = partial(retried, partial(_chosen, path, folder))
    checkpoint = group.all_or_none(choose if group.is_rank_zero else lambda: None)
    iteration = group.broadcast_from_rank0(checkpoint.iteration if checkpoint else 0)
    source = retried(partial(_source, path, folder))
    reader = CheckpointReader(source.checkpoints, fingerprint=None)
    origin = source.checkpoints / folder_name(iteration)
    return origin, checkpoint or retried(partial(reader.load, iteration))


def _source(path: WeightsPath, folder: RunFolder | None) -> WeightsSource:
    """Find the weights; those at W&B only once, by rank 0 before the others ask."""
    if isinstance(path, Path):
        return _find(path)
    if folder is None:
        raise ConfigError(f"init_from: {path} needs the folder of a run, to be recorded there")
    taken = read_taken(folder) or take_artifact(find_artifact(path), folder)
    return WeightsSource(Path(taken.checkpoints), taken.iteration)


def _find(path: Path) -> WeightsSource:
    """Find the weights, as they were found when the run was submitted.

    Raises:
        StorageUnavailableError: The file system is away.
    """
    if not (path.exists() or path.parent.exists()):
        raise StorageUnavailableError(
            f"init_from: {path} cannot be found, nor its folder; if its file system is gone, mount "
            "it again"
        )
    return find_weights(path)


def _chosen(path: WeightsPath, folder: RunFolder | None) -> Checkpoint:
    taken = read_taken(folder) if folder else None
    source = _source(path, folder)
    reader = CheckpointReader(source.checkpoints, fingerprint=None)
    if taken is not None:
        return _load_again(reader, source, taken)
    newest = reader.newest() if source.iteration is None else reader.load(source.iteration)
    if newest is None:
        raise CheckpointError(
            f"init_from: {source.checkpoints} has no whole checkpoint; train that run up to its "
            "first one, or take another"
        )
    if folder and isinstance(path, Path):
        taken = TakenWeights(
            checkpoints=str(source.checkpoints),
            iteration=newest.iteration,
            fingerprint=newest.manifest.identity,
        )
        record_taken(folder, taken)
    return newest


def _load_again(reader: CheckpointReader, source: WeightsSource, taken: TakenWeights) -> Checkpoint:
    name = source.checkpoints / folder_name(taken.iteration)
    remedy = "put it back, or start a new run under another name"
    try:
        checkpoint = reader.load(taken.iteration)
    except StorageUnavailableError:
        raise
    except CheckpointError as error:
        raise CheckpointError(
            f"init_from: this run began with the weights of {name}, which cannot be read any "
            f"more: {error}. To train the same run, {remedy}"
        ) from error
    if checkpoint.manifest.identity != taken.fingerprint:
        raise CheckpointError(
            f"init_from: {name} is of another run than the one that this run began with; {remedy}"
        )
    return checkpoint


def _weights(state: Any, origin: Path) -> tuple[Tensors, bool]:
    """Return the averaged weights of a run's state, or else the last ones, and which of them."""
    match state:
        case {"model": {}, "trainer": {"averaged_weights": {**averages}}}:
            return _tensors(averages), True
        case {"model": {**weights}}:
            return _tensors(weights), False
    raise CheckpointError(f"init_from: {origin} holds no network; take a checkpoint of a run")


def _tensors(state: Mapping[Any, Any]) -> Tensors:
    # A module may keep other objects in its state dict: `get_extra_state`.
    return {name: value for name, value in state.items() if isinstance(value, torch.Tensor)}


def _shown(tensors: Tensors, names: Collection[str]) -> tuple[str, ...]:
    return tuple(_with_shape(name, tensors) for name in tensors if name in names)


def _with_shape(name: str, tensors: Tensors) -> str:
    return f"{name} {list(tensors[name].shape)}"

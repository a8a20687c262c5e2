"""Fine-tuning: start a run with the weights of another one, as far as names and shapes match."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from trainers.checkpoints.checkpoint import Checkpoint
from trainers.checkpoints.checkpoint_reader import CheckpointReader
from trainers.checkpoints.layout import folder_name
from trainers.errors import CheckpointError, ConfigError
from trainers.weights.weights_report import WeightsReport, listed
from trainers.weights.weights_source import WeightsSource, find_weights

if TYPE_CHECKING:
    from trainers.distributed.process_group import ProcessGroup

Tensors = Mapping[str, torch.Tensor]


def load_initial_weights(model: torch.nn.Module, path: Path, group: ProcessGroup) -> WeightsReport:
    """Load the weights of a checkpoint whose names and shapes are those of the network.

    If the other run averages its weights, the averages are loaded. All ranks call this and load the
    checkpoint that rank 0 chooses.

    Args:
        path: See `find_weights`.

    Raises:
        ConfigError: It is neither a run nor a checkpoint, or nothing in it fits the network.
        CheckpointError: There is no whole checkpoint, or it has another schema version.
    """
    source = find_weights(path)
    checkpoint = _read_checkpoint(source, group)
    origin = source.checkpoints / folder_name(checkpoint.iteration)
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


def _read_checkpoint(source: WeightsSource, group: ProcessGroup) -> Checkpoint:
    reader = CheckpointReader(source.checkpoints, fingerprint=None)
    if not group.is_rank_zero:
        return reader.load(group.broadcast_from_rank0(0))
    if source.iteration is not None:
        checkpoint: Checkpoint | None = reader.load(source.iteration)
    else:
        checkpoint = reader.newest()
    if checkpoint is None:
        raise CheckpointError(
            f"init_from: {source.checkpoints} has no whole checkpoint; train that run up to its "
            "first one, or take another"
        )
    group.broadcast_from_rank0(checkpoint.iteration)
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

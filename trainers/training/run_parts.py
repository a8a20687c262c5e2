"""What a run consists of once it is built: trainer, network and optimizer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from attrs import frozen

from trainers.architectures.model import Model, build_model
from trainers.checkpoints.checkpoint import Checkpoint
from trainers.distributed.process_group import ProcessGroup
from trainers.errors import ConfigError
from trainers.run.atomic_write import Fence
from trainers.run.run_folder import RunFolder
from trainers.stream.worker_pool import WorkerReserve
from trainers.trainer import Trainer
from trainers.training.random_state import RandomState

if TYPE_CHECKING:
    from trainers.config.run_config import RunConfig
    from trainers.datasets.dataset import Dataset


@frozen
class RunParts:
    """All that changes while a run is trained, apart from the random generators."""

    trainer: Trainer
    model: Model
    optimizer: torch.optim.Optimizer

    def state_dict(self, random_state: RandomState) -> dict[str, Any]:
        """What a checkpoint holds; the tensors are those of the parts."""
        return {
            "trainer": self.trainer.state_dict(),
            "in_channels": self.model.in_channels,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "random": random_state.state_dict(),
        }

    def restore_trainer(self, checkpoint: Checkpoint) -> None:
        """Have the trainer go on from a checkpoint; before it is entered."""
        self.trainer.load_state_dict(checkpoint.state["trainer"])

    def restore(self, checkpoint: Checkpoint) -> RandomState:
        """Have model and optimizer go on from a checkpoint; gives the random state of it.

        All of it is copied, and the checkpoint is released.
        """
        state: dict[str, Any] = checkpoint.state
        self.model.load_state_dict(state["model"])
        # an optimizer keeps tensors of the right type and device as they are
        self.optimizer.load_state_dict(_copied(state["optimizer"]))
        random_state = RandomState.from_state_dict(_copied(state["random"]))
        checkpoint.release()
        rank = self.trainer.process_group.rank
        if rank > 0:
            return RandomState.of_iteration(self.trainer.seed, self.trainer.iteration, rank)
        return random_state


def build_parts(
    config: RunConfig,
    folder: RunFolder,
    group: ProcessGroup,
    device: torch.device,
    worker_reserve: WorkerReserve,
    fence: Fence,
    *,
    is_restored: bool,
) -> RunParts:
    """The parts as they are before the first iteration; the same on all ranks.

    Args:
        is_restored: A checkpoint is going to be restored, so that weights need not be set.

    Raises:
        ConfigError, DataError: Config and data do not go together.
    """
    can_share, reason = config.trainer.verify_ranks(group.size)
    if not can_share:
        raise ConfigError(reason)
    datasets = [dataset.build() for dataset in config.datasets]
    trainer = config.trainer.build()
    trainer.seed = config.seed
    trainer.process_group = group
    trainer.fence = fence
    trainer.memory_bytes = int(config.resources.memory_gb * 1e9 / group.local_size)
    trainer.worker_reserve = worker_reserve
    if not trainer.can_train(datasets):
        raise ConfigError(
            f"a {type(trainer).__name__} cannot train with the datasets of {folder.config}: "
            "the log names each one and what it lacks"
        )
    task = config.task.build()
    model = build_model(
        config.architecture,
        num_channels=config.task.num_channels,
        activation=task.activation,
        in_channels=_num_raw_channels(datasets),
        seed=config.seed,
        is_restored=is_restored,
    )
    model.to(device)
    snapshots = folder.snapshots if group.is_first else None
    trainer.build_batch_provider(datasets, model, task, snapshots)
    return RunParts(trainer, model, trainer.create_optimizer(model))


def _copied(state: Any) -> Any:
    """The same state, with tensors of its own."""
    match state:
        case torch.Tensor():
            return state.clone()
        case dict():
            return {key: _copied(value) for key, value in state.items()}
        case list() | tuple():
            return type(state)(map(_copied, state))
    return state


def _num_raw_channels(datasets: Sequence[Dataset]) -> int:
    channels = {dataset.name: dataset.raw.num_channels or 1 for dataset in datasets}
    if len(set(channels.values())) > 1:
        found = ", ".join(f"{name} has {number}" for name, number in channels.items())
        raise ConfigError(f"the raw arrays must have equally many channels; found: {found}")
    return next(iter(channels.values()))

"""The parts of a run that change during training: trainer, network and optimizer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any

import torch
from attrs import frozen

from trainers.architectures.model import Model, build_model
from trainers.checkpoints.checkpoint import Checkpoint
from trainers.checkpoints.manifest import Manifest
from trainers.config.config_io import from_plain
from trainers.datasets.change_detection import is_of_today, volume_identity
from trainers.datasets.dataset_config import DatasetConfig
from trainers.datasets.open_dataset import open_dataset
from trainers.datasets.read_options import Reading
from trainers.datasets.understood_grid import earlier_infos, understood_grids
from trainers.distributed.process_group import ProcessGroup
from trainers.errors import ConfigError, DataError
from trainers.run.backoff import never
from trainers.run.run_folder import RunFolder
from trainers.stream.worker_pool import WorkerPool
from trainers.trainer import Trainer, TrainingContext
from trainers.training.determinism import VOLUME_PREFIX
from trainers.training.device import own_device
from trainers.training.random_state import RandomState

if TYPE_CHECKING:
    from trainers.config.run_config import RunConfig
    from trainers.datasets.array import Array
    from trainers.datasets.dataset import Dataset

_GRID_PREFIX = "grid "
"""Of the keys under which an environment has how volumes are understood."""


@frozen
class RunParts:
    """Everything that changes while a run is trained, apart from the random generators."""

    trainer: Trainer
    model: Model
    optimizer: torch.optim.Optimizer
    device: torch.device
    datasets: Sequence[Dataset] = ()

    def volumes(self, known: Mapping[str, str]) -> dict[str, str]:
        """Return the identities of all volumes on file systems; see `volume_identity`.

        Args:
            known: Earlier identities.
        """
        return {
            key: volume_identity(array.info, known.get(key, ""))
            for dataset in self.datasets
            for role, array in _arrays(dataset).items()
            for key in [f"{VOLUME_PREFIX}{dataset.name}/{role}"]
        }

    def grids(self) -> dict[str, str]:
        """Return how each volume is understood; see `understood_grids`."""
        return {
            f"{_GRID_PREFIX}{dataset.name}/{role}": grid
            for dataset in self.datasets
            for role, grid in understood_grids(
                {role: array.info for role, array in _arrays(dataset).items()},
                is_absolute=dataset.sample_points is not None,
            ).items()
        }

    def refuse_other_grids(self, manifest: Manifest) -> None:
        """Raise a DataError if volumes are not understood as when a checkpoint was written."""
        now = self.grids()
        before = _grids_before(manifest, len(self.datasets[0].raw.info.shape)) if now else {}
        if found := [
            f"{key.removeprefix(_GRID_PREFIX)} was read as [{before[key]}], and is now [{grid}]"
            for key, grid in now.items()
            if before.get(key, grid) != grid
        ]:
            raise DataError(
                f"the run was trained on its volumes in another way: {'; '.join(found)}. Put their "
                "metadata back; or set `axes`, `scale`, `voxel_size_nm`, `offset_nm` or "
                "`offset_is` of these arrays, so that they are read as before, and submit the run "
                "again; or start a new run"
            )

    def state_dict(self, random_state: RandomState) -> dict[str, Any]:
        """Return the state dict that a checkpoint holds; its tensors are not copied."""
        return {
            "trainer": self.trainer.state_dict(),
            "in_channels": self.model.in_channels,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "random": random_state.state_dict(),
        }

    @contextmanager
    def entered(self, checkpoint: Checkpoint | None) -> Iterator[RandomState]:
        """Restore a checkpoint and enter the trainer; yield the random state of the next iteration.

        The trainer comes first and is then entered: its workers prefetch the first samples while
        model and optimizer are restored. The checkpoint is copied and then released.

        Args:
            checkpoint: None to start at iteration 0 with the parts as they were built.
        """
        context = self.trainer.context
        if checkpoint is not None:
            self.trainer.load_state_dict(checkpoint.state["trainer"])
            context.ranks.all_or_none(lambda: self.refuse_other_grids(checkpoint.manifest))
        with ExitStack() as stack:
            context.ranks.all_or_none(lambda: stack.enter_context(self.trainer))
            if checkpoint is not None and (random_state := self._restore(checkpoint)):
                yield random_state
            else:
                yield RandomState.of_iteration(
                    context.seed, self.trainer.iteration, context.ranks.rank
                )

    def _restore(self, checkpoint: Checkpoint) -> RandomState | None:
        """Restore model and optimizer; return the random state on rank 0, which saved its own."""
        state: dict[str, Any] = checkpoint.state
        self.model.load_state_dict(state["model"])
        # load_state_dict keeps tensors of the right type and device without copying them, and the
        # checkpoint's memory is released below.
        self.optimizer.load_state_dict(copied(state["optimizer"]))
        random_state = RandomState.from_state_dict(copied(state["random"]))
        checkpoint.release()
        return random_state if self.trainer.context.ranks.is_rank_zero else None


def _arrays(dataset: Dataset) -> dict[str, Array]:
    arrays = {"raw": dataset.raw, "gt": dataset.gt, "mask": dataset.mask}
    return {role: array for role, array in arrays.items() if array is not None}


def _grids_before(manifest: Manifest, num_axes: int) -> dict[str, str]:
    """Return how volumes were understood; of runs without a record of it, as their version did."""
    recorded = {
        key: grid for key, grid in manifest.environment.items() if key.startswith(_GRID_PREFIX)
    }
    if recorded:
        return recorded
    found = {}
    with suppress(ConfigError):  # a config that is not understood any more
        for plain in manifest.what_counts.get("datasets", ()):
            config = from_plain(DatasetConfig, plain)
            infos = earlier_infos(config, num_axes)
            if "raw" not in infos:
                continue
            grids = understood_grids(infos, is_absolute=config.sample_points is not None)
            for role, grid in grids.items():
                volume = f"{config.name}/{role}"
                if not is_of_today(manifest.environment.get(VOLUME_PREFIX + volume, "")):
                    found[_GRID_PREFIX + volume] = grid
    return found


def build_parts(
    config: RunConfig,
    folder: RunFolder,
    ranks: ProcessGroup,
    workers: WorkerPool,
    *,
    is_restored: bool,
    left_out: frozenset[int] = frozenset(),
    should_stop: Callable[[], bool] = never,
) -> RunParts:
    """Build trainer, network and optimizer of a run; the same on all ranks.

    Args:
        left_out: See `TrainingContext`.
        is_restored: A checkpoint will be restored, so weights need not be initialized.
        should_stop: Polled while data are waited for.

    Raises:
        ConfigError, DataError: Config and data do not fit each other.
        DataUnavailableError: A volume stayed away, on this rank.
        StopRequestedError: A stop was requested meanwhile, or another rank was interrupted.
    """
    can_share, reason = config.trainer.verify_ranks(ranks.world_size)
    if not can_share:
        raise ConfigError(reason)
    reading = Reading(timeout_s=config.trainer.data_timeout_s, should_stop=should_stop)
    num_axes = len(config.architecture.input_shape)
    datasets = ranks.all_or_none(
        lambda: [open_dataset(dataset, reading, num_axes) for dataset in config.datasets]
    )
    trainer = config.trainer.build()
    trainer.context = TrainingContext(
        seed=config.seed,
        ranks=ranks,
        folder=folder,
        memory_bytes=int(config.resources.memory_gb * 1e9 / ranks.local_size),
        left_out=left_out,
        workers=workers,
        should_stop=should_stop,
    )
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
    device = own_device()
    model.to(device)
    snapshots = folder.snapshots if ranks.is_rank_zero else None
    trainer.build_batch_provider(datasets, model, task, snapshots)
    return RunParts(trainer, model, trainer.create_optimizer(model), device, datasets)


def copied(state: Any) -> Any:
    """Return the state with all tensors copied."""
    match state:
        case torch.Tensor():
            return state.clone()
        case dict():
            return {key: copied(value) for key, value in state.items()}
        case list() | tuple():
            return type(state)(map(copied, state))
    return state


def _num_raw_channels(datasets: Sequence[Dataset]) -> int:
    channels = {dataset.name: dataset.raw.num_channels or 1 for dataset in datasets}
    if len(set(channels.values())) > 1:
        found = ", ".join(f"{name} has {number}" for name, number in channels.items())
        raise ConfigError(f"raw arrays must all have the same number of channels; found: {found}")
    return next(iter(channels.values()))

"""Carry on the run that a folder describes."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import attrs
import torch

from trainers.architectures.model import Model, build_model
from trainers.checkpoints.checkpoint import Checkpoint
from trainers.checkpoints.checkpoint_store import CheckpointStore
from trainers.errors import ConfigError
from trainers.metrics.metric_writer import MetricWriter
from trainers.metrics.open_writer import open_metric_writer
from trainers.random_state import RandomState
from trainers.run_folder import RunFolder
from trainers.run_state import append_event, read_state, write_state
from trainers.train_loop import train
from trainers.trainer import Trainer
from trainers.training_iteration_stats import TrainingIterationStats

if TYPE_CHECKING:
    from trainers.datasets.dataset import Dataset
    from trainers.run_config import RunConfig

logger = logging.getLogger(__name__)

STATE_INTERVAL_S = 2.0
"""How often at most state.json follows the training."""


def carry_on(folder: RunFolder, config: RunConfig, should_stop: Callable[[], bool]) -> bool:
    """Train from the newest valid checkpoint, or from the start; true if the run is finished.

    The caller holds the run's lock.

    Raises:
        TrainerError: Config, data or checkpoints are not usable.
    """
    _be_deterministic(config.resources.cpus)
    store = CheckpointStore(
        folder.checkpoints, identity=config.identity, keep_last=config.checkpoint.keep_last
    )
    checkpoint = store.newest()
    iteration = checkpoint.iteration if checkpoint else 0
    append_event(folder, "restored" if checkpoint else "started", iteration=iteration)
    _note_iteration(folder, iteration)
    writer = open_metric_writer(config, folder, start_iteration=iteration)
    finished = iteration >= config.num_iterations
    try:
        if not finished and not should_stop():
            finished = _train(folder, config, store, checkpoint, writer, should_stop)
    finally:
        writer.close(finished=finished, preempted=should_stop() and not finished)
    return finished


def _train(
    folder: RunFolder,
    config: RunConfig,
    store: CheckpointStore,
    checkpoint: Checkpoint | None,
    writer: MetricWriter,
    should_stop: Callable[[], bool],
) -> bool:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    trainer, model = _build(config, folder)
    model.to(device)
    optimizer = trainer.create_optimizer(model)
    random_state = RandomState.of_iteration(config.seed, 0)
    if checkpoint:
        random_state = _restore(checkpoint, trainer, model, optimizer)

    def save(random_state: RandomState) -> None:
        state = {
            "trainer": trainer.state_dict(),
            "in_channels": model.in_channels,
            "model": model.state_dict(),
            "optimizer": optimizer.state_dict(),
            "random": random_state.state_dict(),
        }
        store.save(trainer.iteration, state)
        append_event(folder, "checkpoint", iteration=trainer.iteration)

    finished = train(
        trainer,
        model,
        optimizer,
        device,
        num_iterations=config.num_iterations,
        save_every=config.checkpoint.every_iterations,
        save=save,
        writer=writer,
        write_every=config.metrics.every_iterations,
        random_state=random_state,
        should_stop=should_stop,
        report=_Progress(folder, config),
    )
    _note_iteration(folder, trainer.iteration)
    return finished


def _build(config: RunConfig, folder: RunFolder) -> tuple[Trainer, Model]:
    datasets = [dataset.build() for dataset in config.datasets]
    trainer = config.trainer.build()
    trainer.seed = config.seed
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
    )
    trainer.build_batch_provider(datasets, model, task, folder.snapshots)
    return trainer, model


def _num_raw_channels(datasets: Sequence[Dataset]) -> int:
    channels = {dataset.name: dataset.raw.num_channels or 1 for dataset in datasets}
    if len(set(channels.values())) > 1:
        found = ", ".join(f"{name} has {number}" for name, number in channels.items())
        raise ConfigError(f"the raw arrays must have equally many channels; found: {found}")
    return next(iter(channels.values()))


def _restore(
    checkpoint: Checkpoint, trainer: Trainer, model: Model, optimizer: torch.optim.Optimizer
) -> RandomState:
    state: dict[str, Any] = checkpoint.state
    trainer.load_state_dict(state["trainer"])
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    return RandomState(**state["random"])


def _be_deterministic(num_threads: int) -> None:
    """The same bits every time, on the same kind of device and with the same number of threads."""
    torch.set_num_threads(num_threads)
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = False


def _note_iteration(folder: RunFolder, iteration: int) -> None:
    write_state(folder, attrs.evolve(read_state(folder), iteration=iteration))


class _Progress:
    """Keeps state.json and the log abreast of the training."""

    def __init__(self, folder: RunFolder, config: RunConfig) -> None:
        self._folder = folder
        self._num_iterations = config.num_iterations
        self._told_at = time.monotonic()

    def __call__(self, stats: TrainingIterationStats) -> None:
        done = stats.iteration + 1
        now = time.monotonic()
        if now < self._told_at + STATE_INTERVAL_S and done != self._num_iterations:
            return
        self._told_at = now
        _note_iteration(self._folder, done)
        logger.info(
            "iteration %d of %d, loss %.4f, %.2f s a step, %.2f s of it waiting for data",
            done,
            self._num_iterations,
            stats.loss,
            stats.time + stats.data_wait,
            stats.data_wait,
        )

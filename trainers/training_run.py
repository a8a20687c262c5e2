"""Carry on the run that a folder describes."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import attrs
import torch

from trainers.architectures.model import Model, build_model
from trainers.checkpoints.checkpoint import Checkpoint
from trainers.checkpoints.checkpoint_reader import CheckpointReader
from trainers.checkpoints.checkpoint_store import CheckpointStore
from trainers.errors import ConfigError
from trainers.metrics.metric_writer import MetricWriter, NullWriter
from trainers.metrics.open_writer import open_metric_writer
from trainers.process_group import ProcessGroup, open_process_group
from trainers.random_state import RandomState
from trainers.run_folder import RunFolder
from trainers.run_state import append_event, read_state, write_state
from trainers.temporaries import Fence, unfenced
from trainers.train_loop import train
from trainers.trainer import Trainer
from trainers.training_iteration_stats import TrainingIterationStats
from trainers.without_compiler import spare_compiler

if TYPE_CHECKING:
    from trainers.datasets.dataset import Dataset
    from trainers.run_config import RunConfig

logger = logging.getLogger(__name__)

STATE_INTERVAL_S = 2.0
"""How often at most state.json follows the training."""

_NO_CHECKPOINT = -1


def carry_on(
    folder: RunFolder,
    config: RunConfig,
    should_stop: Callable[[], bool],
    *,
    attempt: int = 0,
    fence: Fence = unfenced,
) -> bool:
    """Train from the newest valid checkpoint, or from the start; true if the run is finished.

    All ranks of an attempt call this. The first of them writes, and the caller holds the run's
    lease there.

    Args:
        fence: See `temporaries`; of the first rank.

    Raises:
        TrainerError: Config, data or checkpoints are not usable, or a rank was lost.
    """
    with open_process_group(folder, attempt, should_stop, fence=fence) as group:
        return group is not None and _carry_on(folder, config, group, should_stop, fence)


def _carry_on(
    folder: RunFolder,
    config: RunConfig,
    group: ProcessGroup,
    should_stop: Callable[[], bool],
    fence: Fence,
) -> bool:
    _be_deterministic(max(1, config.resources.cpus // group.local_size))
    spare_compiler()
    store = (
        CheckpointStore(
            folder.checkpoints,
            identity=config.identity,
            keep_last=config.checkpoint.keep_last,
            fence=fence,
        )
        if group.is_first
        else None
    )
    checkpoint = _newest_checkpoint(folder, config, group, store)
    iteration = checkpoint.iteration if checkpoint else 0
    writer: MetricWriter = NullWriter()
    if group.is_first:
        begun = "restored" if checkpoint else "started"
        append_event(folder, begun, fence=fence, iteration=iteration)
        _note_iteration(folder, fence, iteration, saved=iteration)
        writer = open_metric_writer(config, folder, start_iteration=iteration, fence=fence)
    finished, stopped = iteration >= config.num_iterations, False
    try:
        if not finished and not group.agree(should_stop()):
            finished = _train(folder, config, group, store, checkpoint, writer, should_stop, fence)
        stopped = not finished
    finally:
        preempted = not finished and (stopped or should_stop())
        writer.close(finished=finished, preempted=preempted)
    return finished


def _newest_checkpoint(
    folder: RunFolder, config: RunConfig, group: ProcessGroup, store: CheckpointStore | None
) -> Checkpoint | None:
    """The same one on all ranks: the first chooses, and sets damaged ones aside."""
    if store is not None:
        newest = store.newest()
        group.decided_by_first(newest.iteration if newest else _NO_CHECKPOINT)
        return newest
    iteration = group.decided_by_first(_NO_CHECKPOINT)
    if iteration == _NO_CHECKPOINT:
        return None
    return CheckpointReader(folder.checkpoints, identity=config.identity).load(iteration)


def _train(
    folder: RunFolder,
    config: RunConfig,
    group: ProcessGroup,
    store: CheckpointStore | None,
    checkpoint: Checkpoint | None,
    writer: MetricWriter,
    should_stop: Callable[[], bool],
    fence: Fence,
) -> bool:
    device = torch.device("cpu")
    if torch.cuda.is_available():
        device = torch.device("cuda", torch.cuda.current_device())
    trainer, model = _build(config, folder, group, fence)
    model.to(device)
    optimizer = trainer.create_optimizer(model)
    random_state = RandomState.of_iteration(config.seed, 0, group.rank)
    if checkpoint:
        random_state = _restore(checkpoint, trainer, model, optimizer)

    def save(random_state: RandomState) -> None:
        if store is None:
            return
        state = {
            "num_ranks": group.size,
            "trainer": trainer.state_dict(),
            "in_channels": model.in_channels,
            "model": model.state_dict(),
            "optimizer": optimizer.state_dict(),
            "random": random_state.state_dict(),
        }
        store.save(trainer.iteration, state)
        append_event(folder, "checkpoint", fence=fence, iteration=trainer.iteration)
        _note_iteration(folder, fence, trainer.iteration, saved=trainer.iteration)

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
        should_stop=lambda: group.agree(should_stop()),
        report=_Progress(folder, config, fence) if group.is_first else _tell_nobody,
    )
    group.wait_for_all()  # the attempt ends as one, with its last checkpoint committed
    return finished


def _build(
    config: RunConfig, folder: RunFolder, group: ProcessGroup, fence: Fence
) -> tuple[Trainer, Model]:
    group.part_of(config.trainer.batch_size)
    datasets = [dataset.build() for dataset in config.datasets]
    trainer = config.trainer.build()
    trainer.seed = config.seed
    trainer.process_group = group
    trainer.fence = fence
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
    snapshots = folder.snapshots if group.is_first else None
    trainer.build_batch_provider(datasets, model, task, snapshots)
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
    rank, size = trainer.process_group.rank, trainer.process_group.size
    if state.get("num_ranks", 1) != size and rank == 0:
        logger.warning(
            "the checkpoint of iteration %d was made by %d ranks, and now there are %d: the "
            "samples are the same, but sums are rounded otherwise, so that the result will differ "
            "in the last bits from that of a run that was never stopped",
            *(checkpoint.iteration, state.get("num_ranks", 1), size),
        )
    if rank > 0:
        return RandomState.of_iteration(trainer.seed, trainer.iteration, rank)
    return RandomState(**state["random"])


def _be_deterministic(num_threads: int) -> None:
    """The same bits every time, on the same kind of device and with the same number of threads."""
    torch.set_num_threads(num_threads)
    # use_deterministic_algorithms says both, but loads the compiler for it, which takes a second
    torch.set_deterministic_debug_mode("warn")
    os.environ.setdefault("TORCHINDUCTOR_DETERMINISTIC", "1")
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = False


def _note_iteration(
    folder: RunFolder, fence: Fence, iteration: int, saved: int | None = None
) -> None:
    state = attrs.evolve(read_state(folder), iteration=iteration)
    if saved is not None:
        state = attrs.evolve(state, saved_iteration=saved)
    write_state(folder, state, fence=fence)


def _tell_nobody(stats: TrainingIterationStats) -> None:
    """What a rank other than the first reports."""


class _Progress:
    """Keeps state.json and the log abreast of the training."""

    def __init__(self, folder: RunFolder, config: RunConfig, fence: Fence) -> None:
        self._folder = folder
        self._fence = fence
        self._num_iterations = config.num_iterations
        self._told_at = time.monotonic()

    def __call__(self, stats: TrainingIterationStats) -> None:
        done = stats.iteration + 1
        now = time.monotonic()
        if now < self._told_at + STATE_INTERVAL_S and done != self._num_iterations:
            return
        self._told_at = now
        _note_iteration(self._folder, self._fence, done)
        logger.info(
            "iteration %d of %d, loss %.4f, %.2f s a step, %.2f s of it waiting for data",
            done,
            self._num_iterations,
            stats.loss,
            stats.time + stats.data_wait,
            stats.data_wait,
        )

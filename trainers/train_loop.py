"""The one training loop."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from trainers.errors import CheckpointError
from trainers.metrics.metric_writer import MetricWriter
from trainers.random_state import RandomState
from trainers.trainer import Trainer
from trainers.training_iteration_stats import TrainingIterationStats

if TYPE_CHECKING:
    import torch

    from trainers.architectures.model import Model

logger = logging.getLogger(__name__)


def train(
    trainer: Trainer,
    model: Model,
    optimizer: torch.optim.Optimizer,
    device: torch.device,
    *,
    num_iterations: int,
    save_every: int,
    save: Callable[[RandomState], None],
    writer: MetricWriter,
    write_every: int,
    random_state: RandomState,
    should_stop: Callable[[], bool],
    report: Callable[[TrainingIterationStats], None],
) -> bool:
    """Train until `num_iterations` are done, or until asked to stop; true if they are done.

    Trainer, model and optimizer come in as they were restored. On return, what they have become is
    saved.

    Args:
        save: Commits a checkpoint of trainer, model, optimizer and the random state it is given.
        random_state: Of the generators at the beginning of the next iteration.
        should_stop: Asked after every iteration; gives the same answer on all ranks.
        report: Told of every iteration, after everything that must not be lost.
    """
    random_state.apply()
    with trainer:
        remaining = num_iterations - trainer.iteration
        for stats in trainer.iterate(remaining, model, optimizer, device):
            done, stop = trainer.iteration == num_iterations, should_stop()
            rank = trainer.process_group.rank
            random_state = RandomState.of_iteration(trainer.seed, trainer.iteration, rank)
            if stats.iteration % write_every == 0:
                writer.write(stats.iteration, _scalars(stats, trainer.batch_size))
            if done or stop:
                writer.sync()  # rows first: a checkpoint must not know of rows that a kill takes
                save(random_state)
            elif trainer.iteration % save_every == 0:
                writer.sync()
                try:
                    save(random_state)
                except CheckpointError as error:
                    logger.error("training goes on without this checkpoint: %s", error)
            random_state.apply()
            report(stats)
            if stop:
                break
    return trainer.iteration == num_iterations


def _scalars(stats: TrainingIterationStats, batch_size: int) -> dict[str, float]:
    return {
        "loss": stats.loss,
        "learning_rate": stats.learning_rate,
        "step_time_s": stats.time,
        "data_wait_s": stats.data_wait,
        "samples_per_second": batch_size / (stats.time + stats.data_wait),
    }

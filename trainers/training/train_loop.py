"""The one training loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from trainers.metrics.metric_writer import MetricWriter
from trainers.trainer import Trainer
from trainers.training.random_state import RandomState
from trainers.training.saving import Saving
from trainers.training_iteration_stats import TrainingIterationStats

if TYPE_CHECKING:
    import torch

    from trainers.architectures.model import Model


def train(
    trainer: Trainer,
    model: Model,
    optimizer: torch.optim.Optimizer,
    device: torch.device,
    *,
    num_iterations: int,
    saving: Saving,
    writer: MetricWriter,
    write_every: int,
    random_state: RandomState,
    should_stop: Callable[[], bool],
    report: Callable[[TrainingIterationStats], None],
) -> bool:
    """Train until `num_iterations` are done, or until asked to stop; true if they are done.

    Trainer, model and optimizer come in as they were restored, and the trainer has been entered. On
    return, what they have become is saved.

    Args:
        saving: Saves trainer, model, optimizer and the random state that it is given.
        random_state: Of the generators at the beginning of the next iteration.
        should_stop: Asked after every iteration; gives the same answer on all ranks.
        report: Told of every iteration, after everything that must not be lost.
    """
    random_state.apply()
    remaining = num_iterations - trainer.iteration
    for stats in trainer.iterate(remaining, model, optimizer, device):
        done, stop = trainer.iteration == num_iterations, should_stop()
        rank = trainer.process_group.rank
        random_state = RandomState.of_iteration(trainer.seed, trainer.iteration, rank)
        row = _scalars(stats, trainer.batch_size)
        if stats.iteration % write_every == 0:
            writer.write(stats.iteration, row)
        if done or stop:
            saving.end(trainer.iteration, row, random_state)
        else:
            saving.go_on(trainer.iteration, row, random_state)
        random_state.apply()
        report(stats)
        if stop:
            break
    return trainer.iteration == num_iterations


def _scalars(stats: TrainingIterationStats, batch_size: int) -> dict[str, float]:
    queue = {
        "data_queue_depth": stats.data_queue_depth,
        "data_hit_rate": stats.data_hit_rate,
    }
    return {
        "loss": stats.loss,
        "learning_rate": stats.learning_rate,
        "step_time_s": stats.time,
        "data_wait_s": stats.data_wait,
        "samples_per_second": batch_size / (stats.time + stats.data_wait),
        **{name: value for name, value in queue.items() if value is not None},
    }

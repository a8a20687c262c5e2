"""The one training loop."""

from __future__ import annotations

from collections.abc import Callable

from trainers.metrics.metric_writer import MetricWriter
from trainers.run.sections import Section, enter
from trainers.training.checkpoint_hook import CheckpointHook
from trainers.training.random_state import RandomState
from trainers.training.run_parts import RunParts
from trainers.training_iteration_stats import TrainingIterationStats


def train(
    parts: RunParts,
    random_state: RandomState,
    *,
    num_iterations: int,
    hook: CheckpointHook,
    writer: MetricWriter,
    should_stop: Callable[[], bool],
    report: Callable[[TrainingIterationStats], None],
) -> bool:
    """Train until `num_iterations` are done or a stop is requested; return whether they are done.

    The parts come in restored, and the trainer entered. On return their last state is saved.

    Args:
        random_state: The state that the next iteration starts from.
        hook: Saves the parts and the random state that it is given.
        should_stop: Asked after every iteration; gives the same answer on all ranks.
        report: Called last in every iteration, after everything that must not be lost.
    """
    trainer, context = parts.trainer, parts.trainer.context
    random_state.apply()
    remaining = num_iterations - trainer.iteration
    enter(Section.STEP)
    for stats in trainer.iterate(remaining, parts.model, parts.optimizer, parts.device):
        done, stop = trainer.iteration == num_iterations, should_stop()
        # Computed, not captured: what the next iteration draws must not depend on draws so far.
        random_state = RandomState.of_iteration(context.seed, trainer.iteration, context.ranks.rank)
        row = _scalars(stats, trainer.batch_size)
        # First of all: a checkpoint must not know of a row that is lost.
        writer.write(stats.iteration, row)
        if done or stop:
            hook.at_end(trainer.iteration, row, random_state)
        else:
            hook.after_iteration(trainer.iteration, row, random_state)
        # Last of all, since writers and hooks are free to draw.
        random_state.apply()
        report(stats)
        if stop:
            break
        enter(Section.STEP)
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

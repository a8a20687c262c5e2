"""The one training loop."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator

from trainers.distributed.process_group import INTERRUPTIONS
from trainers.errors import CheckpointError, StopRequestedError
from trainers.metrics.metric_writer import MetricWriter
from trainers.run.sections import Section, enter
from trainers.training.checkpoint_hook import CheckpointHook
from trainers.training.non_finite import NonFiniteStepError
from trainers.training.random_state import RandomState
from trainers.training.run_parts import RunParts
from trainers.training_iteration_stats import TrainingIterationStats

_logger = logging.getLogger(__name__)


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

    The parts come in restored, and the trainer entered. On return their last state is saved, and
    also when the samples of an iteration do not come.

    Args:
        random_state: The state that the next iteration starts from.
        hook: Saves the parts and the random state that it is given.
        should_stop: Asked after every iteration; gives the same answer on all ranks.
        report: Called last in every iteration, after everything that must not be lost.

    Raises:
        DataError, StreamError: The samples of an iteration did not come.
        NonFiniteError: An iteration has made NaN or infinity of loss, gradients or weights. What
            was reached before it is saved, unless the run goes back from there.
    """
    trainer, context = parts.trainer, parts.trainer.context
    random_state.apply()
    first, remaining = trainer.iteration, num_iterations - trainer.iteration

    def save() -> None:
        if trainer.iteration > first:
            hook.at_interruption(trainer.iteration, random_state)
        context.ranks.barrier()  # an exit code 75 of the others promises a committed checkpoint

    stall_s: float | None = None  # of the save after the iteration before
    enter(Section.STEP)
    iterations = trainer.iterate(remaining, parts.model, parts.optimizer, parts.device)
    for stats in _until_interrupted(iterations, save):
        if not (math.isfinite(stats.loss) or stats.non_finite):
            message = f"iteration {stats.iteration}: the loss is {stats.loss}"
            raise NonFiniteStepError(
                message, stats.iteration, is_state_finite=False, goes_back=False
            )
        done, stop = trainer.iteration == num_iterations, should_stop()
        # Computed, not captured: what the next iteration draws must not depend on draws so far.
        random_state = RandomState.of_iteration(context.seed, trainer.iteration, context.ranks.rank)
        row = _scalars(stats, trainer.batch_size, stall_s)
        # First of all: a checkpoint must not know of a row that is lost.
        writer.write(stats.iteration, row)
        if done or stop:
            hook.at_end(trainer.iteration, row, random_state)
        else:
            stall_s = hook.after_iteration(trainer.iteration, row, random_state)
        # Last of all, since writers and hooks are free to draw.
        random_state.apply()
        report(stats)
        if stop:
            break
        enter(Section.STEP)
    return trainer.iteration == num_iterations


def _until_interrupted(
    iterations: Iterator[TrainingIterationStats], save: Callable[[], None]
) -> Iterator[TrainingIterationStats]:
    """Yield what `iterations` yields; save when the next one does not begin, or fails.

    A stop then ends the iterations; anything else is raised.
    """
    try:
        yield from iterations
    except StopRequestedError as error:
        _logger.info("%s; saving the state of the last iteration", error)
        save()
    except (*INTERRUPTIONS, NonFiniteStepError) as error:
        if not isinstance(error, NonFiniteStepError) or (
            error.is_state_finite and not error.goes_back
        ):
            _logger.warning("interrupted between two iterations; saving the state of the last one")
            try:
                save()
            except CheckpointError as failure:
                _logger.error("the state before the failure is not saved: %s", failure)
        raise


def _scalars(
    stats: TrainingIterationStats, batch_size: int, stall_s: float | None
) -> dict[str, float]:
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
        **({} if stall_s is None else {"save_stall_s": stall_s}),
        **({"skipped_steps": stats.skipped_steps} if stats.skipped_steps else {}),
    }

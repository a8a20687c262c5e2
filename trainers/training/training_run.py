"""Carry on the run that a folder describes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import torch

from trainers.checkpoints.async_checkpointer import BackgroundSaver
from trainers.checkpoints.checkpoint import Checkpoint
from trainers.distributed.process_group import ProcessGroup, open_process_group
from trainers.metrics.metric_writer import MetricWriter, NullWriter
from trainers.metrics.open_writer import open_metric_writer
from trainers.run.atomic_write import Fence, unfenced
from trainers.run.run_folder import RunFolder
from trainers.training.determinism import (
    be_deterministic,
    current_environment,
    doubts,
    watched_operations,
)
from trainers.training.disable_dynamo import spare_compiler
from trainers.training.progress import RunProgress
from trainers.training.random_state import RandomState
from trainers.training.run_parts import RunParts, build_parts
from trainers.training.saving import NoSaving, RunSaving, Saving
from trainers.training.startup import EarlyStart
from trainers.training.train_loop import train
from trainers.training_iteration_stats import TrainingIterationStats
from trainers.weights.init_from import load_initial_weights

if TYPE_CHECKING:
    from trainers.config.run_config import RunConfig


def carry_on(
    folder: RunFolder,
    config: RunConfig,
    early: EarlyStart,
    should_stop: Callable[[], bool],
    *,
    attempt: int = 0,
    fence: Fence = unfenced,
) -> bool:
    """Train from the newest valid checkpoint, or from the start; true if the run is finished.

    All ranks of an attempt call this. The first of them writes, and the caller holds the run's
    lease there.

    Args:
        early: What was begun before.
        fence: See `temporaries`; of the first rank.

    Raises:
        TrainerError: Config, data or checkpoints are not usable, or a rank was lost.
    """
    early.times.end("imports")
    with open_process_group(folder, attempt, should_stop, fence=fence) as group:
        return group is not None and _carry_on(folder, config, early, group, should_stop, fence)


def _carry_on(
    folder: RunFolder,
    config: RunConfig,
    early: EarlyStart,
    group: ProcessGroup,
    should_stop: Callable[[], bool],
    fence: Fence,
) -> bool:
    be_deterministic(config.deterministic, num_threads(config, group))
    spare_compiler()
    early.times.end("ranks")
    checkpoint = early.restoration.checkpoint(group)
    early.times.end("waiting for the checkpoint")
    iteration = checkpoint.iteration if checkpoint else 0
    progress = RunProgress(folder, config.num_iterations, early, fence)
    writer: MetricWriter = NullWriter()
    if group.is_first:
        progress.begin(iteration, restored=checkpoint is not None)
        for reason in doubts(
            deterministic=config.deterministic,
            exact_across_ranks=config.trainer.exact_across_ranks,
            before=checkpoint.manifest.environment if checkpoint else None,
            now=current_environment(group.size),
        ):
            progress.doubt(reason)
        writer = open_metric_writer(config, folder, start_iteration=iteration, fence=fence)
    early.times.end("reporting")
    finished, stopped = iteration >= config.num_iterations, False
    try:
        if not finished and not group.agree(should_stop()):
            with watched_operations(progress.doubt if group.is_first else _doubt_nothing):
                finished = _train(
                    folder, config, early, group, checkpoint, writer, progress, should_stop, fence
                )
        stopped = not finished
    finally:
        preempted = not finished and (stopped or should_stop())
        writer.close(finished=finished, preempted=preempted)
    return finished


def num_threads(config: RunConfig, group: ProcessGroup) -> int:
    """Threads of torch; how it rounds sums depends on them."""
    if config.trainer.exact_across_ranks:
        return 1  # what any number of ranks has, each of them
    return max(1, config.resources.cpus // group.local_size)


def _train(
    folder: RunFolder,
    config: RunConfig,
    early: EarlyStart,
    group: ProcessGroup,
    checkpoint: Checkpoint | None,
    writer: MetricWriter,
    progress: RunProgress,
    should_stop: Callable[[], bool],
    fence: Fence,
) -> bool:
    device = torch.device("cpu")
    if torch.cuda.is_available():
        device = torch.device("cuda", torch.cuda.current_device())
    parts = build_parts(
        *(config, folder, group, device, early.worker_reserve, fence),
        is_restored=checkpoint is not None,
    )
    early.times.end("building")
    random_state = RandomState.of_iteration(config.seed, 0, group.rank)
    if checkpoint:
        parts.restore_trainer(checkpoint)
    with parts.trainer, _saving(config, early, group, parts, writer, progress) as saving:
        # data workers make the first samples now
        if checkpoint:
            random_state = parts.restore(checkpoint)
        elif config.init_from:
            weights = load_initial_weights(parts.model, config.init_from, group)
            if group.is_first:
                progress.initialized(weights)
        early.times.end("restoring")
        finished = train(
            parts.trainer,
            parts.model,
            parts.optimizer,
            device,
            num_iterations=config.num_iterations,
            saving=saving,
            writer=writer,
            write_every=config.metrics.every_iterations,
            random_state=random_state,
            should_stop=lambda: group.agree(should_stop()),
            report=progress.report if group.is_first else _tell_nobody,
        )
    group.wait_for_all()  # the attempt ends as one, with its last checkpoint committed
    return finished


@contextmanager
def _saving(
    config: RunConfig,
    early: EarlyStart,
    group: ProcessGroup,
    parts: RunParts,
    writer: MetricWriter,
    progress: RunProgress,
) -> Iterator[Saving]:
    """What saves the run, on its first rank; a save in flight is done before it ends."""
    store = early.restoration.store
    if store is None:
        yield NoSaving()
        return
    saver = BackgroundSaver(
        store,
        environment=current_environment(group.size),
        optimizer=parts.optimizer,
        before_commit=writer.sync,  # it must not know of rows that a kill can take
        on_commit=progress.saved,
        on_failure=progress.not_saved,
    )
    with closing(saver):
        yield RunSaving(saver, config.checkpoint, state_of=parts.state_dict, progress=progress)


def _doubt_nothing(reason: str) -> None:
    """What a rank other than the first tells of the exactness of the run."""


def _tell_nobody(stats: TrainingIterationStats) -> None:
    """What a rank other than the first reports."""

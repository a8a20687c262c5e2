"""Train the run that a folder describes: resume it, or start it."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING

from attrs import frozen

from trainers.checkpoints.async_checkpointer import AsyncCheckpointer
from trainers.checkpoints.checkpoint import Checkpoint
from trainers.checkpoints.checkpoint_store import CheckpointStore
from trainers.distributed.open_process_group import open_process_group
from trainers.distributed.process_group import ProcessGroup
from trainers.errors import CheckpointError, NonFiniteError
from trainers.metrics.metric_writer import MetricWriter, NullWriter
from trainers.metrics.open_writer import open_metric_writer
from trainers.run.backoff import retry
from trainers.run.run_folder import RunFolder
from trainers.run.sections import Section, enter
from trainers.training.checkpoint_hook import CheckpointHook, NullCheckpointHook, RunCheckpointHook
from trainers.training.determinism import (
    current_environment,
    nondeterminism_warnings,
    replaced_volumes,
    set_determinism,
    watch_nondeterminism,
)
from trainers.training.device import check_gpu
from trainers.training.disable_dynamo import disable_dynamo
from trainers.training.incompatible_packages import check_packages
from trainers.training.non_finite import (
    NonFiniteStepError,
    agree_on_left_out,
    record_left_out,
)
from trainers.training.progress import RunProgress
from trainers.training.run_parts import RunParts, build_parts
from trainers.training.startup import Startup
from trainers.training.step_verification import VerificationError
from trainers.training.train_loop import train
from trainers.weights.init_from import load_initial_weights

if TYPE_CHECKING:
    from trainers.config.run_config import RunConfig

_METRICS_KEY = "metrics"
"""In a checkpoint: the part of an interval of `metrics.every_iterations` that is done."""
DISTRUST_TIMEOUT_S = 60.0
"""How long to try to set checkpoints aside: what stays in place would be resumed from."""


def train_run(
    folder: RunFolder,
    config: RunConfig,
    startup: Startup,
    should_stop: Callable[[], bool],
    *,
    attempt: int = 0,
) -> bool:
    """Resume from the newest valid checkpoint, or start; return whether the run is finished.

    Called on all ranks of an attempt. Rank 0 writes; there the caller holds the run's lease.

    Args:
        folder: On rank 0 with the fence of its lease.
        startup: From `background_startup`.

    Raises:
        TrainerError: Config, data, packages or checkpoints are not usable, the GPU is not, or a
            rank was lost.
    """
    startup.times.end("imports")
    check_packages()
    check_gpu()  # before the ranks meet: they would agree on the CPU
    with open_process_group(folder, attempt, should_stop) as ranks:
        if ranks is None:
            return False
        return _Attempt(folder, config, startup, ranks, should_stop).run()


def num_threads(config: RunConfig, ranks: ProcessGroup) -> int:
    """Return the number of torch's threads, on which the rounding of sums depends."""
    if config.trainer.exact_across_ranks:
        return 1  # the only number that does not change with the number of ranks
    return max(1, config.resources.cpus // ranks.local_size)


@frozen
class _Attempt:
    """One rank's part in an attempt, once all ranks have met."""

    folder: RunFolder
    config: RunConfig
    startup: Startup
    ranks: ProcessGroup
    should_stop: Callable[[], bool]

    def run(self) -> bool:
        """Train, and go back where the config says so; return whether the run is finished."""
        config, startup, ranks = self.config, self.startup, self.ranks
        set_determinism(config.deterministic, num_threads(config, ranks))
        disable_dynamo()
        startup.times.end("ranks")
        checkpoint = startup.prefetch.checkpoint(ranks)
        startup.times.end("waiting for the checkpoint")
        left_out = agree_on_left_out(startup.prefetch.left_out, ranks)
        progress = RunProgress(startup.record, config.num_iterations, startup)
        while True:
            try:
                return self._run_from(checkpoint, left_out, progress)
            except NonFiniteStepError as error:
                if store := startup.prefetch.store:
                    progress.non_finite(error)
                if not error.goes_back:
                    raise NonFiniteError(f"{error}{_last_good(store)}") from error
                blamed = error.iteration
            except VerificationError as error:
                if store := startup.prefetch.store:
                    distrust = partial(store.distrust, error.verified_iteration, str(error))
                    progress.went_back(retry(distrust, timeout_s=DISTRUST_TIMEOUT_S))
                raise
            left_out |= {blamed}
            if ranks.is_rank_zero:
                # Before anything else: an attempt that is killed now must leave it out as well.
                record_left_out(self.folder, left_out)
            enter(Section.START)
            _free_parts()
            checkpoint = startup.prefetch.earlier(ranks, up_to=blamed)
            progress = RunProgress(startup.record, config.num_iterations, None)

    def _run_from(
        self, checkpoint: Checkpoint | None, left_out: frozenset[int], progress: RunProgress
    ) -> bool:
        """Restore, train, close the writer; return whether the run is finished."""
        config, ranks = self.config, self.ranks
        iteration = checkpoint.iteration if checkpoint else 0
        writer = self._open_writer(checkpoint, progress)
        self.startup.times.end("reporting")
        finished, goes_on = iteration >= config.num_iterations, False
        try:
            if not finished and not ranks.any_rank(self.should_stop()):
                warn = progress.not_reproducible if ranks.is_rank_zero else _ignore
                with watch_nondeterminism(warn):
                    finished = self._train(checkpoint, left_out, writer, progress)
            goes_on = not finished
        except NonFiniteStepError as error:
            goes_on = error.goes_back
            raise
        finally:
            preempted = not finished and (goes_on or self.should_stop())
            writer.close(finished=finished, preempted=preempted)
        return finished

    def _open_writer(self, checkpoint: Checkpoint | None, progress: RunProgress) -> MetricWriter:
        """Report the start of the attempt and open its metric writer; on rank 0."""
        if not self.ranks.is_rank_zero:
            return NullWriter()
        iteration = checkpoint.iteration if checkpoint else 0
        ranks = self.ranks
        progress.begin(
            iteration,
            restored=checkpoint is not None,
            num_nodes=-(-ranks.world_size // ranks.local_size),
        )
        for warning in nondeterminism_warnings(
            deterministic=self.config.deterministic,
            exact_across_ranks=self.config.trainer.exact_across_ranks,
            before=checkpoint.manifest.environment if checkpoint else None,
            now=current_environment(self.ranks.world_size, self.ranks.local_size),
        ):
            progress.not_reproducible(warning)
        return open_metric_writer(
            self.config,
            self.startup.record,
            start_iteration=iteration,
            state=checkpoint.state.get(_METRICS_KEY) if checkpoint else None,
        )

    def _train(
        self,
        checkpoint: Checkpoint | None,
        left_out: frozenset[int],
        writer: MetricWriter,
        progress: RunProgress,
    ) -> bool:
        times, ranks = self.startup.times, self.ranks
        parts = build_parts(
            self.config,
            self.folder,
            ranks,
            self.startup.workers,
            is_restored=checkpoint is not None,
            left_out=left_out,
            should_stop=self.should_stop,
        )
        times.end("building")
        environment = self._environment(parts, checkpoint, progress) if ranks.is_rank_zero else {}
        times.end("identifying volumes")
        with (
            parts.entered(checkpoint) as random_state,
            self._checkpoint_hook(parts, writer, progress, environment) as hook,
        ):
            if checkpoint is None and self.config.init_from:
                weights = load_initial_weights(
                    parts.model,
                    self.config.init_from,
                    ranks,
                    self.folder,
                    should_stop=self.should_stop,
                )
                if ranks.is_rank_zero:
                    progress.initialized(weights)
            times.end("restoring")
            try:
                finished = train(
                    parts,
                    random_state,
                    num_iterations=self.config.num_iterations,
                    hook=hook,
                    writer=writer,
                    should_stop=lambda: ranks.any_rank(self.should_stop()),
                    report=progress.report if ranks.is_rank_zero else _ignore,
                )
            finally:
                enter(Section.CLOSE)
        # The exit codes 0 and 75 promise a committed checkpoint, on every rank.
        ranks.barrier()
        return finished

    def _environment(
        self, parts: RunParts, checkpoint: Checkpoint | None, progress: RunProgress
    ) -> dict[str, str]:
        """Return what is recorded in checkpoints; warn of volumes that were replaced."""
        before = checkpoint.manifest.environment if checkpoint else {}
        volumes = parts.volumes(before)
        for reason in replaced_volumes(before, volumes):
            progress.not_reproducible(reason)
        now = current_environment(self.ranks.world_size, self.ranks.local_size)
        progress.environment(
            now, {key: value for key, value in volumes.items() if before.get(key) != value}
        )
        return {**now, **volumes, **parts.grids()}

    @contextmanager
    def _checkpoint_hook(
        self,
        parts: RunParts,
        writer: MetricWriter,
        progress: RunProgress,
        environment: Mapping[str, str],
    ) -> Iterator[CheckpointHook]:
        """Yield what saves the run, on rank 0; a save in flight ends before the block does."""
        store = self.startup.prefetch.store
        if store is None:
            yield NullCheckpointHook()
            return
        checkpointer = AsyncCheckpointer(
            store,
            environment=environment,
            optimizer=parts.optimizer,
            before_commit=writer.sync,  # a checkpoint must not be newer than the rows on disk
            on_commit=progress.saved,
            on_failure=progress.not_saved,
        )
        with closing(checkpointer):
            yield RunCheckpointHook(
                checkpointer,
                self.config.checkpoint,
                state_of=lambda random_state: {
                    **parts.state_dict(random_state),
                    **({_METRICS_KEY: rows} if (rows := writer.state_dict()) else {}),
                },
                progress=progress,
                verified=lambda: parts.trainer.verified_iteration,
            )


def _last_good(store: CheckpointStore | None) -> str:
    """Say on rank 0 which checkpoint an attempt that failed has left."""
    with suppress(CheckpointError):
        if store and (good := store.newest_finite()) is not None:
            return f". The last good checkpoint is of iteration {good}"
    return ""


def _ignore(_: object) -> None:
    """Leave warnings and reports to rank 0."""


def _free_parts() -> None:
    """Free what is left of network and optimizer: a GPU may have no room for them twice."""
    gc.unfreeze()  # `pause_gc_during_import` exempts whatever is there when a stream is opened
    gc.collect()  # hooks refer back to the optimizer

"""Save checkpoints in a background thread while training continues."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from trainers.checkpoints.checkpoint_store import CheckpointStore, no_op
from trainers.checkpoints.manifest import VERIFIED_KEY
from trainers.checkpoints.retention import best_metric
from trainers.checkpoints.staging import StagedState, Staging
from trainers.errors import CheckpointError
from trainers.run.backoff import retry
from trainers.run.run_figures import BestMetric
from trainers.run.sections import Section, section

if TYPE_CHECKING:
    import torch

_logger = logging.getLogger(__name__)

LAST_SAVE_TIMEOUT_S = 480.0
"""How long the last save is tried; less than other ranks wait: `open_process_group.TIMEOUT`."""


@frozen(kw_only=True)
class Commit:
    """A checkpoint that has been committed, and how long that took."""

    iteration: int
    num_bytes: int
    """Length of the data file: tensors and header."""
    stall_s: float
    """From the request until the state was copied and could change again."""
    durable_s: float
    """From the request until the checkpoint would survive a power failure."""
    best: BestMetric | None = None
    """That of the run's best checkpoint so far, this one included; None without `keep_best`."""


@frozen
class _Save:
    """A save that has been requested."""

    iteration: int
    metrics: Mapping[str, float]
    verified: int | None
    is_last: bool
    began: float = field(factory=time.perf_counter)


class AsyncCheckpointer:
    """A saver that copies a state to host memory, and writes the copy in a background thread.

    One save is in flight at a time. Not thread-safe. An error of the writing thread that is not a
    `CheckpointError` is raised by the next call.

    Args:
        environment: Recorded in the checkpoints; see `trainers.training.determinism`.
        optimizer: See `Staging`.
        before_commit: See `CheckpointStore.commit`; called by the writing thread.
        on_commit: Called with each commit, by the writing thread.
        on_failure: Called with the iteration and the error of each save that failed, by the thread
            in which it failed.
    """

    def __init__(
        self,
        store: CheckpointStore,
        *,
        environment: Mapping[str, str] = {},
        optimizer: torch.optim.Optimizer | None = None,
        before_commit: Callable[[], None] = no_op,
        on_commit: Callable[[Commit], None] = no_op,
        on_failure: Callable[[int, CheckpointError], None] = no_op,
    ) -> None:
        self._store = store
        self._environment = environment
        self._before_commit = before_commit
        self._on_commit = on_commit
        self._on_failure = on_failure
        self._staging = Staging(optimizer)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._preparing: Future[None] | None = None
        self._in_flight: Future[None] | None = None
        self._committed = -1
        self._is_waiting = False
        self.num_skipped = 0
        """Saves skipped because the previous one was still in flight."""
        self.num_failed = 0
        """Saves that were started and failed."""

    def prepare(self, state: Any) -> None:
        """Start to allocate memory for states with the layout of this one; return at once.

        Without it the first save takes several times as long. A save that is requested before the
        memory is ready waits for it.

        Raises:
            TypeError: The state holds something that cannot be saved.
        """
        layout = self._staging.layout_of(state)
        self._preparing = self._thread.submit(self._staging.make_room, layout)

    def start(
        self,
        iteration: int,
        state: Any,
        metrics: Mapping[str, float] = {},
        verified: int | None = None,
    ) -> bool:
        """Save in the background; on return the state may change.

        Return False, and skip the save, if the previous one is still in flight. A save that fails
        is logged, and training continues.

        Args:
            metrics: See `CheckpointStore.save`.
            verified: See `Manifest.verified_iteration`.

        Raises:
            TypeError: The state holds something that cannot be saved.
        """
        if self._in_flight is not None and not self._in_flight.done():
            self.num_skipped += 1
            return False
        self._wait_quietly()
        with suppress(CheckpointError):
            self._begin(_Save(iteration, metrics, verified, is_last=False), state)
        return True

    def save(
        self,
        iteration: int,
        state: Any,
        metrics: Mapping[str, float] = {},
        verified: int | None = None,
    ) -> None:
        """Wait for the save in flight, then save this state and wait for it too.

        Does nothing more if the save in flight was of the same iteration. A file system that
        refuses at present is tried again: a preempted process has no other use for its grace.

        Args:
            metrics: See `CheckpointStore.save`.
            verified: See `Manifest.verified_iteration`.

        Raises:
            TypeError: The state holds something that cannot be saved.
            CheckpointError: The file system refused; earlier checkpoints are untouched.
        """
        self._wait_quietly()
        if iteration != self._committed:
            self._begin(_Save(iteration, metrics, verified, is_last=True), state)
            self.wait()

    def wait(self) -> None:
        """Wait for the save in flight, and for the memory that `prepare` asked for.

        Raises:
            CheckpointError: The save that was in flight has failed.
        """
        self._wait_for_memory()
        if self._in_flight is not None:
            in_flight, self._in_flight = self._in_flight, None
            _await(in_flight)

    def close(self) -> None:
        """Wait for the save in flight, and free all memory."""
        try:
            self._wait_quietly()
        finally:
            self._thread.shutdown()
            self._staging.release()

    def _wait_quietly(self) -> None:
        with suppress(CheckpointError):  # `on_failure` and the log have it already
            self.wait()

    def _begin(self, save: _Save, state: Any) -> None:
        try:
            self._wait_for_memory()
            staged = self._staging.stage(state)
        except CheckpointError as error:
            self._fail(save, error)
            raise
        stall_s = time.perf_counter() - save.began
        self._in_flight = self._thread.submit(self._write, save, staged, stall_s)

    def _wait_for_memory(self) -> None:
        if self._preparing is not None:
            preparing, self._preparing = self._preparing, None
            with suppress(CheckpointError):  # out of memory: staging will raise it again
                _await(preparing)

    def _write(self, save: _Save, staged: StagedState, stall_s: float) -> None:
        with section(Section.SAVE):
            self._commit(save, staged, stall_s)

    def _commit(self, save: _Save, staged: StagedState, stall_s: float) -> None:
        verified = {} if save.verified is None else {VERIFIED_KEY: str(save.verified)}
        commit = partial(
            self._store.commit,
            save.iteration,
            staged,
            metrics=save.metrics,
            environment={**self._environment, **verified},
            before_commit=self._before_commit,
        )
        try:
            retry(
                commit,
                timeout_s=LAST_SAVE_TIMEOUT_S if save.is_last else 0.0,
                on_failure=self._tell_first,
            )
        except CheckpointError as error:
            self._fail(save, error)
            raise
        durable_s = time.perf_counter() - save.began
        self._committed = save.iteration
        self._on_commit(
            Commit(
                iteration=save.iteration,
                num_bytes=staged.num_bytes,
                stall_s=stall_s,
                durable_s=durable_s,
                best=_best(self._store),
            )
        )
        self._store.delete_old()

    def _tell_first(self, error: Exception, elapsed_s: float) -> None:
        if not self._is_waiting:
            self._is_waiting = True
            _logger.error("the last checkpoint is tried again for a while: %s", error)

    def _fail(self, save: _Save, error: CheckpointError) -> None:
        self.num_failed += 1
        if not save.is_last:
            _logger.error("training continues without this checkpoint: %s", error)
        self._on_failure(save.iteration, error)


def _best(store: CheckpointStore) -> BestMetric | None:
    if store.retention.keep_best is None:
        return None
    with suppress(CheckpointError, OSError):  # the file system is away; the next commit asks again
        return best_metric(store.saved(), store.retention.keep_best)
    return None


def _await(future: Future[None]) -> None:
    """Return when a future is done, or raise its error."""
    if not future.done():  # a section that takes no time would pass for a quick save
        with section(Section.SAVE):
            wait([future])
    future.result()

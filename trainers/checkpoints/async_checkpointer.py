"""Save while the training goes on."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from trainers.checkpoints.checkpoint_store import CheckpointStore
from trainers.checkpoints.staging import StagedState, Staging
from trainers.errors import CheckpointError

if TYPE_CHECKING:
    import torch

_logger = logging.getLogger(__name__)


@frozen(kw_only=True)
class Commit:
    """A checkpoint that is there to stay."""

    iteration: int
    num_bytes: int
    """Of its tensors and their header."""
    stall_s: float
    """Until the state was copied, so that it could change again."""
    durable_s: float
    """Until a power failure could not take the checkpoint any more, from the same moment on."""


def _nothing() -> None:
    """What is to be done before a commit, if nothing is."""


def _tell_nobody(*_: Any) -> None:
    """What a commit or a failure is told to, if nobody wants to know."""


@frozen
class _Save:
    """One save that has been asked for."""

    iteration: int
    metrics: Mapping[str, float]
    is_last: bool
    began: float = field(factory=time.perf_counter)


class AsyncCheckpointer:
    """Copies a state at once, and writes the copy from a thread of its own: one at a time.

    Not for several threads. What is not a `CheckpointError` and goes wrong while writing is raised
    by the next call.

    Args:
        environment: Goes into the checkpoints; see `trainers.training.determinism`.
        optimizer: See `Staging`.
        before_commit: See `CheckpointStore.commit`; called by the writing thread.
        on_commit: Told of each commit, by the writing thread.
        on_failure: Told of each iteration that could not be saved, and why, by the thread that
            noticed.
    """

    def __init__(
        self,
        store: CheckpointStore,
        *,
        environment: Mapping[str, str] = {},
        optimizer: torch.optim.Optimizer | None = None,
        before_commit: Callable[[], None] = _nothing,
        on_commit: Callable[[Commit], None] = _tell_nobody,
        on_failure: Callable[[int, CheckpointError], None] = _tell_nobody,
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
        self.num_skipped = 0
        """Saves that were not begun because the one before was not done."""
        self.num_failed = 0
        """Saves that were begun and came to nothing."""

    def prepare(self, state: Any) -> None:
        """Have memory ready for states that are built like this one; returns at once.

        Without it the first save takes several times as long. A save that comes meanwhile waits.

        Raises:
            TypeError: The state holds something that cannot be saved.
        """
        layout = self._staging.layout_of(state)
        self._preparing = self._thread.submit(self._staging.make_room, layout)

    def start(self, iteration: int, state: Any, metrics: Mapping[str, float] = {}) -> bool:
        """Save in the background; on return the state may change. False if it is skipped.

        It is skipped if the save before is still in flight. If it fails, the log says so.

        Args:
            metrics: See `CheckpointStore.save`.

        Raises:
            TypeError: The state holds something that cannot be saved.
        """
        if self._in_flight is not None and not self._in_flight.done():
            self.num_skipped += 1
            return False
        self._settle()
        with suppress(CheckpointError):
            self._begin(_Save(iteration, metrics, is_last=False), state)
        return True

    def save(self, iteration: int, state: Any, metrics: Mapping[str, float] = {}) -> None:
        """Save, and return when that is done; let the one that is in flight finish before.

        If that is of the same iteration, there is nothing else to do.

        Args:
            metrics: See `CheckpointStore.save`.

        Raises:
            TypeError: The state holds something that cannot be saved.
            CheckpointError: The disk is full or refuses; earlier checkpoints are untouched.
        """
        self._settle()
        if iteration != self._committed:
            self._begin(_Save(iteration, metrics, is_last=True), state)
            self.wait()

    def wait(self) -> None:
        """Return when nothing is in flight, and what `prepare` asked for is there.

        Raises:
            CheckpointError: The save that was in flight has failed.
        """
        self._await_room()
        if self._in_flight is not None:
            in_flight, self._in_flight = self._in_flight, None
            in_flight.result()

    def close(self) -> None:
        """Let the save that is in flight finish, and give all memory back."""
        try:
            self._settle()
        finally:
            self._thread.shutdown()
            self._staging.release()

    def _settle(self) -> None:
        with suppress(CheckpointError):  # it has been told
            self.wait()

    def _begin(self, save: _Save, state: Any) -> None:
        try:
            self._await_room()
            staged = self._staging.stage(state)
        except CheckpointError as error:
            self._fail(save, error)
            raise
        stall_s = time.perf_counter() - save.began
        self._in_flight = self._thread.submit(self._write, save, staged, stall_s)

    def _await_room(self) -> None:
        if self._preparing is not None:
            preparing, self._preparing = self._preparing, None
            with suppress(CheckpointError):  # without memory there is another one in a moment
                preparing.result()

    def _write(self, save: _Save, staged: StagedState, stall_s: float) -> None:
        try:
            self._store.commit(
                save.iteration,
                staged,
                metrics=save.metrics,
                environment=self._environment,
                before_commit=self._before_commit,
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
            )
        )
        self._store.delete_old()

    def _fail(self, save: _Save, error: CheckpointError) -> None:
        self.num_failed += 1
        if not save.is_last:
            _logger.error("training goes on without this checkpoint: %s", error)
        self._on_failure(save.iteration, error)

"""Prefetch the checkpoint that a run resumes from while the process still imports torch.

Reading and verifying need the disk and a core, importing torch mostly the interpreter; so the two
run side by side.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from trainers.checkpoints.checkpoint import Checkpoint
from trainers.checkpoints.checkpoint_reader import CheckpointReader
from trainers.checkpoints.checkpoint_store import CheckpointStore
from trainers.checkpoints.layout import DAMAGED_PREFIX
from trainers.config.run_config import RunConfig
from trainers.distributed.rank_info import RankInfo
from trainers.errors import (
    CheckpointError,
    RankError,
    StopRequestedError,
    StorageUnavailableError,
    UnavailableError,
)
from trainers.run.atomic_write import read_written
from trainers.run.backoff import never, retry
from trainers.run.failure_class import may_come_back
from trainers.run.run_record import RunRecord
from trainers.run.run_state import EventKind
from trainers.run.sections import Section, section

if TYPE_CHECKING:
    from trainers.distributed.process_group import ProcessGroup

logger = logging.getLogger(__name__)

T = TypeVar("T")

_NO_CHECKPOINT, _FAILED, _STOPPED = -1, -2, -3
TIMEOUT_S = 60.0
"""How long to wait for a file system; a start loses nothing by leaving more to the next attempt."""
_POLL_S = 0.1
_STOPPED_WORDS = "stopped while the checkpoint to resume from was read"


class CheckpointPrefetch:
    """The newest checkpoint of a run, which a thread reads and verifies from construction on.

    All ranks resume from the one that rank 0 has read, and only rank 0 changes anything on disk.
    The other ranks prefetch the one that they expect rank 0 to choose.
    """

    def __init__(
        self,
        record: RunRecord,
        config: RunConfig,
        rank_info: RankInfo,
        should_stop: Callable[[], bool] = never,
    ) -> None:
        self.seconds = 0.0
        """Seconds that the thread took to read and verify."""
        self.store: CheckpointStore | None = None
        """On rank 0, once `checkpoint` has returned; None on other ranks."""
        self.left_out: bytes | None = None
        """On rank 0, then too: the record of the iterations that the run leaves out."""
        self._record = record
        self._folder = record.folder.checkpoints
        self._config = config
        self._should_stop = should_stop
        self._is_rank_zero = rank_info.rank == 0
        self._newest: Checkpoint | None = None
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._work, name="checkpoint-prefetch", daemon=True)
        self._thread.start()

    def checkpoint(self, group: ProcessGroup) -> Checkpoint | None:
        """Return the checkpoint to resume from, the same on all ranks; None without one.

        All ranks call this together: rank 0 broadcasts its choice.

        Raises:
            CheckpointError: Checkpoints exist, but none is usable.
            StorageUnavailableError, OSError: The folder cannot be created, written or read.
            StopRequestedError: A stop was requested while the file system hangs or is away.
            RankError: On other ranks, if rank 0 has failed.
        """
        with section(Section.RESTORE):
            while self._thread.is_alive() and not self._should_stop():
                self._thread.join(_POLL_S)
        if self._thread.is_alive():
            self._error = StopRequestedError(_STOPPED_WORDS)
        newest, self._newest = self._newest, None
        return self._chosen(group, newest, self._error)

    def earlier(self, group: ProcessGroup, up_to: int) -> Checkpoint | None:
        """Return the newest good checkpoint up to an iteration; None if there is none.

        All ranks call this together, after `checkpoint`, and it raises the same.
        """
        newest: Checkpoint | None = None
        failure: Exception | None = None
        if self.store:
            try:
                newest = self._retried(partial(self.store.newest, up_to))
            except Exception as error:
                failure = error
        return self._chosen(group, newest, failure)

    def _chosen(
        self, group: ProcessGroup, newest: Checkpoint | None, failure: Exception | None
    ) -> Checkpoint | None:
        """Return the checkpoint that rank 0 has read, on all ranks, or raise why it has not."""
        if self._is_rank_zero:
            if failure:
                is_stopped = isinstance(failure, StopRequestedError)
                group.broadcast_from_rank0(_STOPPED if is_stopped else _FAILED)
                raise failure
            group.broadcast_from_rank0(newest.iteration if newest else _NO_CHECKPOINT)
            return newest
        iteration = group.broadcast_from_rank0(_NO_CHECKPOINT)
        if iteration == _STOPPED:
            raise StopRequestedError(_STOPPED_WORDS)
        if iteration == _FAILED:
            raise RankError("rank 0 could not read the checkpoint to resume from; see its log")
        if iteration == _NO_CHECKPOINT:
            return None
        if newest and newest.iteration == iteration:
            return newest
        # Rank 0 may have set aside a damaged one since, or its file system shows other files.
        return self._retried(partial(self._load, iteration))

    def _load(self, iteration: int) -> Checkpoint:
        reader = self._reader()
        if iteration not in reader.iterations():  # an NFS client may list a folder that late
            raise StorageUnavailableError(
                f"{self._folder} does not show the checkpoint of iteration {iteration} here, which "
                "rank 0 has read"
            )
        return reader.load(iteration)

    def wait(self, timeout_s: float | None = None) -> None:
        """Return once the thread has ended, or hangs for longer than allowed."""
        self._thread.join(timeout_s)

    def _work(self) -> None:
        with section(Section.RESTORE):
            self._read()

    def _read(self) -> None:
        start = time.monotonic()
        try:
            if self._is_rank_zero:
                self.store = self._retried(self._open_store)
                self.left_out = self._retried(partial(read_written, self._record.folder.left_out))
            self._newest = self._retried((self.store or self._reader()).newest)
            if self._is_rank_zero:
                self._compare_with_state(self._newest)
        except Exception as error:  # raised by `checkpoint`, on the main thread
            self._error = error
        self.seconds = time.monotonic() - start

    def _open_store(self) -> CheckpointStore:
        return CheckpointStore(
            self._folder,
            fingerprint=self._config.fingerprint,
            fingerprint_fields=self._config.fingerprint_fields,
            retention=self._config.checkpoint.retention,
            fence=self._record.folder.fence,
            on_damaged=self._note_damaged,
        )

    def _retried(self, attempt: Callable[[], T]) -> T:
        try:
            return retry(
                attempt, timeout_s=TIMEOUT_S, passes=_may_pass, should_stop=self._should_stop
            )
        except FileNotFoundError as error:
            raise StorageUnavailableError(f"{self._folder} is away: {error.strerror}") from error

    def _compare_with_state(self, newest: Checkpoint | None) -> None:
        """Warn if saved iterations are lost; refuse to start over if all of them are.

        Raises:
            CheckpointError: The state names a saved iteration, and no checkpoint is usable.
        """
        saved, run = self._record.state.saved_iteration, self._record.folder
        if newest is None and saved:
            raise CheckpointError(
                f"{self._folder} has no usable checkpoint, but iteration {saved} was "
                f"saved. If the disk was at fault, rename what is set aside as {DAMAGED_PREFIX}… "
                "back and start the run again; to train it from the start instead, remove "
                f"{run.state} and {run.events}, and submit it again."
            )
        if newest is not None and newest.iteration < saved:
            logger.warning(
                "iteration %d was saved, but the newest usable checkpoint is of iteration %d",
                saved,
                newest.iteration,
            )

    def _note_damaged(self, name: str, aside: str, reason: str) -> None:
        self._record.event(EventKind.CHECKPOINT_DAMAGED, name=name, aside=aside, reason=reason)

    def _reader(self) -> CheckpointReader:
        return CheckpointReader(
            self._folder,
            fingerprint=self._config.fingerprint,
            fingerprint_fields=self._config.fingerprint_fields,
        )


def _may_pass(error: Exception) -> bool:
    return isinstance(error, UnavailableError) or may_come_back(error)

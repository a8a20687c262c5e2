"""Read what a run goes on from while its process is still importing torch."""

from __future__ import annotations

import logging
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from trainers.checkpoints.checkpoint import Checkpoint
from trainers.checkpoints.checkpoint_reader import CheckpointReader
from trainers.checkpoints.checkpoint_store import CheckpointStore
from trainers.checkpoints.layout import DAMAGED_PREFIX
from trainers.config.run_config import RunConfig
from trainers.distributed.rank_info import RankInfo
from trainers.errors import CheckpointError
from trainers.run.run_folder import RunFolder
from trainers.run.run_state import EventKind, append_event, read_state

if TYPE_CHECKING:
    from trainers.distributed.process_group import ProcessGroup

logger = logging.getLogger(__name__)

_NO_CHECKPOINT = -1


class Restoration:
    """The newest checkpoint of a run, which a thread begins to read at once.

    All ranks take the one that the first of them has read, and that rank alone changes anything on
    disk. The others read ahead what they expect it to be.
    """

    def __init__(self, folder: RunFolder, config: RunConfig, rank_info: RankInfo) -> None:
        self.seconds = 0.0
        """How long the thread has taken to read and verify."""
        self.store: CheckpointStore | None = None
        """Of the first rank, once `checkpoint` has returned."""
        self._run = folder
        self._folder = folder.checkpoints
        self._config = config
        self._is_rank_zero = rank_info.rank == 0
        self._newest: Checkpoint | None = None
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._read, name="restoration", daemon=True)
        self._thread.start()

    def checkpoint(self, group: ProcessGroup) -> Checkpoint | None:
        """The same one on all ranks, which call this together; None if there is none.

        Raises:
            CheckpointError: It cannot be used.
            OSError: The folder cannot be created, written or read.
        """
        self.wait()
        newest, self._newest = self._newest, None
        if self._is_rank_zero:
            if self._error:
                raise self._error
            group.broadcast_from_rank0(newest.iteration if newest else _NO_CHECKPOINT)
            return newest
        iteration = group.broadcast_from_rank0(_NO_CHECKPOINT)
        if iteration == _NO_CHECKPOINT:
            return None
        if newest and newest.iteration == iteration:
            return newest
        return self._reader().load(iteration)

    def wait(self) -> None:
        """Return once the thread has ended."""
        self._thread.join()

    def _read(self) -> None:
        began = time.monotonic()
        try:
            if self._is_rank_zero:
                self.store = CheckpointStore(
                    self._folder,
                    identity=self._config.identity,
                    what_counts=self._config.what_counts,
                    retention=self._config.checkpoint.retention,
                    fence=self._run.fence,
                    on_damaged=self._note_damaged,
                )
            self._newest = (self.store or self._reader()).newest()
            if self._is_rank_zero:
                self._compare_with_state(self._newest)
        except Exception as error:
            self._error = error
        self.seconds = time.monotonic() - began

    def _compare_with_state(self, newest: Checkpoint | None) -> None:
        """Nothing that was saved is trained again without a word, and all of it not without leave.

        Raises:
            CheckpointError: Something was saved, and nothing of it can be used.
        """
        saved = read_state(self._run).saved_iteration
        if newest is None and saved:
            raise CheckpointError(
                f"{self._folder} holds no checkpoint that can be used, but iteration {saved} was "
                f"saved. If the disk was at fault, rename what is set aside as {DAMAGED_PREFIX}… "
                "back and start the run again; to train it from the start instead, remove "
                f"{self._run.state} and submit it again."
            )
        if newest is not None and newest.iteration < saved:
            logger.warning(
                "iteration %d was saved, but the newest checkpoint that can be used is of %d",
                saved,
                newest.iteration,
            )

    def _note_damaged(self, name: str, aside: str, reason: str) -> None:
        with suppress(OSError):  # the log has it, too
            append_event(
                self._run, EventKind.CHECKPOINT_DAMAGED, name=name, aside=aside, reason=reason
            )

    def _reader(self) -> CheckpointReader:
        return CheckpointReader(
            self._folder, identity=self._config.identity, what_counts=self._config.what_counts
        )

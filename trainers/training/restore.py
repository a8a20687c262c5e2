"""Prefetch the checkpoint that a run resumes from while the process still imports torch.

Reading and verifying need the disk and a core, importing torch mostly the interpreter; so the two
run side by side.
"""

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
from trainers.run.sections import Section, section

if TYPE_CHECKING:
    from trainers.distributed.process_group import ProcessGroup

logger = logging.getLogger(__name__)

_NO_CHECKPOINT = -1


class CheckpointPrefetch:
    """The newest checkpoint of a run, which a thread reads and verifies from construction on.

    All ranks resume from the one that rank 0 has read, and only rank 0 changes anything on disk.
    The other ranks prefetch the one that they expect rank 0 to choose.
    """

    def __init__(self, folder: RunFolder, config: RunConfig, rank_info: RankInfo) -> None:
        self.seconds = 0.0
        """Seconds that the thread took to read and verify."""
        self.store: CheckpointStore | None = None
        """On rank 0, once `checkpoint` has returned; None on other ranks."""
        self._run = folder
        self._folder = folder.checkpoints
        self._config = config
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
            OSError: The folder cannot be created, written or read.
        """
        self.wait()
        newest, self._newest = self._newest, None
        if self._error and self._is_rank_zero:
            raise self._error
        return self._chosen(group, newest)

    def earlier(self, group: ProcessGroup, up_to: int) -> Checkpoint | None:
        """Return the newest good checkpoint up to an iteration; None if there is none.

        All ranks call this together, after `checkpoint`.

        Raises:
            CheckpointError: It cannot be read.
        """
        return self._chosen(group, self.store.newest(up_to) if self.store else None)

    def _chosen(self, group: ProcessGroup, newest: Checkpoint | None) -> Checkpoint | None:
        """Return the checkpoint that rank 0 has read, on all ranks."""
        if self._is_rank_zero:
            group.broadcast_from_rank0(newest.iteration if newest else _NO_CHECKPOINT)
            return newest
        iteration = group.broadcast_from_rank0(_NO_CHECKPOINT)
        if iteration == _NO_CHECKPOINT:
            return None
        if newest and newest.iteration == iteration:
            return newest
        # Rank 0 may have set aside a damaged one since, or its file system shows other files.
        return self._reader().load(iteration)

    def wait(self) -> None:
        """Return once the thread has ended."""
        with section(Section.RESTORE):
            self._thread.join()

    def _work(self) -> None:
        with section(Section.RESTORE):
            self._read()

    def _read(self) -> None:
        start = time.monotonic()
        try:
            if self._is_rank_zero:
                self.store = CheckpointStore(
                    self._folder,
                    fingerprint=self._config.fingerprint,
                    fingerprint_fields=self._config.fingerprint_fields,
                    retention=self._config.checkpoint.retention,
                    fence=self._run.fence,
                    on_damaged=self._note_damaged,
                )
            self._newest = (self.store or self._reader()).newest()
            if self._is_rank_zero:
                self._compare_with_state(self._newest)
        except Exception as error:  # raised by `checkpoint`, on the main thread
            self._error = error
        self.seconds = time.monotonic() - start

    def _compare_with_state(self, newest: Checkpoint | None) -> None:
        """Warn if saved iterations are lost; refuse to start over if all of them are.

        Raises:
            CheckpointError: The state names a saved iteration, and no checkpoint is usable.
        """
        saved = read_state(self._run).saved_iteration
        if newest is None and saved:
            raise CheckpointError(
                f"{self._folder} has no usable checkpoint, but iteration {saved} was "
                f"saved. If the disk was at fault, rename what is set aside as {DAMAGED_PREFIX}… "
                "back and start the run again; to train it from the start instead, remove "
                f"{self._run.state} and submit it again."
            )
        if newest is not None and newest.iteration < saved:
            logger.warning(
                "iteration %d was saved, but the newest usable checkpoint is of iteration %d",
                saved,
                newest.iteration,
            )

    def _note_damaged(self, name: str, aside: str, reason: str) -> None:
        with suppress(OSError):  # the log names it too
            append_event(
                self._run, EventKind.CHECKPOINT_DAMAGED, name=name, aside=aside, reason=reason
            )

    def _reader(self) -> CheckpointReader:
        return CheckpointReader(
            self._folder,
            fingerprint=self._config.fingerprint,
            fingerprint_fields=self._config.fingerprint_fields,
        )

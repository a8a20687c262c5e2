"""Read what a run goes on from while its process is still importing torch."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from trainers.checkpoints.checkpoint import Checkpoint
from trainers.checkpoints.checkpoint_reader import CheckpointReader
from trainers.checkpoints.checkpoint_store import CheckpointStore
from trainers.rank_place import RankPlace
from trainers.run_config import RunConfig
from trainers.run_folder import RunFolder
from trainers.run_state import append_event
from trainers.temporaries import Fence

if TYPE_CHECKING:
    from trainers.process_group import ProcessGroup

_NO_CHECKPOINT = -1


class Restoration:
    """The newest checkpoint of a run, which a thread begins to read at once.

    All ranks take the one that the first of them has read, and that rank alone changes anything on
    disk. The others read ahead what they expect it to be.

    Args:
        fence: See `temporaries`; of the first rank.
    """

    def __init__(
        self, folder: RunFolder, config: RunConfig, place: RankPlace, fence: Fence
    ) -> None:
        self.seconds = 0.0
        """How long the thread has taken to read and verify."""
        self.store: CheckpointStore | None = None
        """Of the first rank, once `checkpoint` has returned."""
        self._run = folder
        self._folder = folder.checkpoints
        self._config = config
        self._is_first = place.rank == 0
        self._fence = fence
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
        if self._is_first:
            if self._error:
                raise self._error
            group.decided_by_first(newest.iteration if newest else _NO_CHECKPOINT)
            return newest
        iteration = group.decided_by_first(_NO_CHECKPOINT)
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
            if self._is_first:
                self.store = CheckpointStore(
                    self._folder,
                    identity=self._config.identity,
                    what_counts=self._config.what_counts,
                    retention=self._config.checkpoint.retention,
                    fence=self._fence,
                    on_damaged=self._note_damaged,
                )
            self._newest = (self.store or self._reader()).newest()
        except Exception as error:
            self._error = error
        self.seconds = time.monotonic() - began

    def _note_damaged(self, name: str, aside: str, reason: str) -> None:
        with suppress(OSError):  # the log has it, too
            append_event(
                self._run,
                "checkpoint_damaged",
                fence=self._fence,
                name=name,
                aside=aside,
                reason=reason,
            )

    def _reader(self) -> CheckpointReader:
        return CheckpointReader(
            self._folder, identity=self._config.identity, what_counts=self._config.what_counts
        )

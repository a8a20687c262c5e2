"""The checkpoints of a run, for the one process that trains it."""

from __future__ import annotations

import itertools
import logging
import shutil
from pathlib import Path
from typing import Any

from trainers.atomic_write import sync_folder
from trainers.checkpoints.checkpoint import Checkpoint
from trainers.checkpoints.checkpoint_reader import CheckpointReader
from trainers.checkpoints.checkpoint_writer import write_checkpoint
from trainers.checkpoints.errors import DamagedCheckpointError
from trainers.checkpoints.retention import iterations_to_delete
from trainers.checkpoints.safetensors_bytes import to_safetensors
from trainers.checkpoints.state_codec import encode
from trainers.temporaries import Fence, make_final, move_away, sweep, unfenced

_logger = logging.getLogger(__name__)


class CheckpointStore(CheckpointReader):
    """Saves, restores and deletes checkpoints. Hold the run's lease while there is one.

    Opening it creates the folder and removes what killed attempts have left half done. Damaged
    checkpoints are not only passed over, but renamed to `damaged-…` and kept for inspection.

    Args:
        identity: Of the run; checkpoints of another one are refused.
        keep_last: How many whole checkpoints stay; older ones are deleted after each commit.
        fence: Asked before anything is committed, renamed or deleted; see `temporaries`.
    """

    def __init__(
        self, folder: Path, *, identity: str, keep_last: int = 2, fence: Fence = unfenced
    ) -> None:
        super().__init__(folder, identity=identity)
        self._keep_last = keep_last
        self._fence = fence
        self._validated: set[int] = set()
        folder.mkdir(parents=True, exist_ok=True)
        sync_folder(folder.parent)
        sweep(folder, fence)

    def save(self, iteration: int, state: Any) -> Path:
        """Commit a checkpoint; on return it survives a kill and a power failure.

        A whole checkpoint of this iteration is left as it is.

        Args:
            state: See `state_codec` for what it may hold.

        Raises:
            TypeError: The state holds something that cannot be saved.
            CheckpointError: The disk is full or refuses; earlier checkpoints are untouched.
        """
        if not self._is_saved(iteration):
            skeleton, tensors = encode(state)
            write_checkpoint(
                self._folder,
                iteration=iteration,
                identity=self._identity,
                state=skeleton,
                data=to_safetensors(tensors),
                fence=self._fence,
            )
            self._validated.add(iteration)
            self._delete_old()
        return self._path(iteration)

    def _is_saved(self, iteration: int) -> bool:
        if iteration not in self.iterations():
            return False
        try:
            self._read(iteration)
        except DamagedCheckpointError as error:
            self._pass_over(iteration, error)
            return False
        return True

    def _read(self, iteration: int) -> Checkpoint:
        checkpoint = super()._read(iteration)
        self._validated.add(iteration)
        return checkpoint

    def _pass_over(self, iteration: int, error: DamagedCheckpointError) -> None:
        path = self._path(iteration)
        asides = (path.with_name(f"damaged-{path.name}-{n}") for n in itertools.count())
        aside = next(each for each in asides if not each.exists())
        moved = move_away(path, self._fence)
        make_final(moved, aside, self._fence)
        moved.parent.rmdir()
        _logger.warning("%s; it is set aside as %s", error, aside.name)

    def _delete_old(self) -> None:
        iterations = iterations_to_delete(
            self.iterations(), validated=self._validated, keep_last=self._keep_last
        )
        for iteration in iterations:
            self._delete(self._path(iteration))

    def _delete(self, path: Path) -> None:
        """Delete a checkpoint; if that fails half way, what is left no longer has its name."""
        try:
            moved = move_away(path, self._fence)
            shutil.rmtree(moved)
            moved.parent.rmdir()
        except OSError as error:
            _logger.warning(
                "cannot delete %s: %s; it takes up space until that is possible", path, error
            )

"""Find and read the checkpoints of a run, without changing anything on disk."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trainers.checkpoints.checkpoint import Checkpoint, read_checkpoint
from trainers.checkpoints.layout import folder_name, iterations_in
from trainers.errors import CheckpointError, DamagedCheckpointError

_logger = logging.getLogger(__name__)


class CheckpointReader:
    """The checkpoints of a run, for any process, also while another one trains the run.

    Args:
        identity: Of the run; checkpoints of another one are refused. None takes those of any run.
        what_counts: `RunConfig.what_counts`, to tell what differs in a checkpoint of another run.
    """

    def __init__(
        self, folder: Path, *, identity: str | None, what_counts: Mapping[str, Any] = {}
    ) -> None:
        self._folder = folder
        self._identity = identity
        self._what_counts = what_counts

    def iterations(self) -> list[int]:
        """The iterations that have a checkpoint, oldest first; each may turn out to be damaged."""
        try:
            with os.scandir(self._folder) as entries:
                folders = [each.name for each in entries if each.is_dir(follow_symlinks=False)]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise CheckpointError(f"cannot list {self._folder}: {error.strerror}") from error
        return iterations_in(folders)

    def load(self, iteration: int) -> Checkpoint:
        """One checkpoint.

        Raises:
            DamagedCheckpointError: It is not what was written.
            CheckpointError: There is none, or it is of another run or schema version.
        """
        iterations = self.iterations()
        if iteration not in iterations:
            known = ", ".join(map(str, iterations)) or "none"
            raise CheckpointError(
                f"{self._folder} has no checkpoint of iteration {iteration}; there are: {known}"
            )
        return self._read(iteration)

    def newest(self) -> Checkpoint | None:
        """The newest checkpoint that is whole; None if there is none.

        Damaged ones are passed over with a warning.

        Raises:
            CheckpointError: The newest one is of another run or schema version.
        """
        for iteration in reversed(self.iterations()):
            try:
                return self._read(iteration)
            except DamagedCheckpointError as error:
                if not self._path(iteration).exists():
                    return self.newest()  # retention took it, so there is a newer one by now
                self._pass_over(iteration, error)
        return None

    def _path(self, iteration: int) -> Path:
        return self._folder / folder_name(iteration)

    def _read(self, iteration: int) -> Checkpoint:
        return read_checkpoint(
            self._path(iteration), identity=self._identity, what_counts=self._what_counts
        )

    def _pass_over(self, iteration: int, error: DamagedCheckpointError) -> None:
        _logger.warning("%s; it is passed over", error)

"""Find and read the checkpoints of a run. Changes nothing on disk."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trainers.checkpoints.checkpoint import Checkpoint, read_checkpoint
from trainers.checkpoints.layout import folder_name, iterations_in
from trainers.errors import CheckpointError, DamagedCheckpointError, StorageUnavailableError
from trainers.run.failure_class import is_of_this_moment

_logger = logging.getLogger(__name__)


class CheckpointReader:
    """Read access to the checkpoints of a run, also while another process trains it.

    Args:
        fingerprint: Of the run; checkpoints of another run are refused. None accepts any.
        fingerprint_fields: What is behind it, so that the error can list what differs.
    """

    def __init__(
        self, folder: Path, *, fingerprint: str | None, fingerprint_fields: Mapping[str, Any] = {}
    ) -> None:
        self._folder = folder
        self._fingerprint = fingerprint
        self._fingerprint_fields = fingerprint_fields

    def iterations(self) -> list[int]:
        """List the iterations that have a checkpoint, oldest first; any of them may be damaged."""
        try:
            return self._list()
        except FileNotFoundError:
            return []

    def _list(self) -> list[int]:
        """List them; raise FileNotFoundError without a folder."""
        try:
            with os.scandir(self._folder) as entries:
                folders = [each.name for each in entries if each.is_dir(follow_symlinks=False)]
        except FileNotFoundError:
            raise
        except OSError as error:
            kind = StorageUnavailableError if is_of_this_moment(error) else CheckpointError
            raise kind(f"cannot list {self._folder}: {error.strerror}") from error
        return iterations_in(folders)

    def load(self, iteration: int) -> Checkpoint:
        """Read one checkpoint.

        Raises:
            DamagedCheckpointError: It is not what was written.
            CheckpointError: There is none, or it is of another run or schema version.
        """
        iterations = self.iterations()
        if iteration not in iterations:
            known = ", ".join(map(str, iterations)) or "none"
            raise CheckpointError(
                f"{self._folder} has no checkpoint of iteration {iteration}; available: {known}"
            )
        return self._read(iteration)

    def newest(self, up_to: int | None = None) -> Checkpoint | None:
        """Read the newest checkpoint that is not damaged and whose weights are finite.

        Others are skipped with a warning. Return None if there is none.

        Args:
            up_to: Newer ones do not count; by default all do.

        Raises:
            StorageUnavailableError: The newest one cannot be read at present.
            CheckpointError: The newest one is of another run or schema version.
        """
        for iteration in reversed(self._candidates()):
            if up_to is not None and iteration > up_to:
                continue
            try:
                checkpoint = self._read(iteration)
            except DamagedCheckpointError as error:
                if not self._path(iteration).exists():
                    return self.newest(up_to)  # retention deleted it: there is a newer one by now
                self._skip_damaged(iteration, error)
                continue
            if checkpoint.manifest.is_finite:
                return checkpoint
            _logger.warning(
                "%s holds weights that are NaN or infinite; skipped", self._path(iteration)
            )
        return None

    def _candidates(self) -> list[int]:
        """List what `newest` looks at."""
        return self.iterations()

    def _path(self, iteration: int) -> Path:
        return self._folder / folder_name(iteration)

    def _read(self, iteration: int) -> Checkpoint:
        return read_checkpoint(
            self._path(iteration),
            fingerprint=self._fingerprint,
            fingerprint_fields=self._fingerprint_fields,
        )

    def _skip_damaged(self, iteration: int, error: DamagedCheckpointError) -> None:
        _logger.warning("%s; skipped", error)

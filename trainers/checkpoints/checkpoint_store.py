"""Save, restore and delete the checkpoints of a run, as the one process that trains it."""

from __future__ import annotations

import itertools
import logging
import math
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from trainers.checkpoints.checkpoint import Checkpoint
from trainers.checkpoints.checkpoint_reader import CheckpointReader
from trainers.checkpoints.checkpoint_writer import write_checkpoint
from trainers.checkpoints.layout import DAMAGED_PREFIX
from trainers.checkpoints.manifest import Manifest
from trainers.checkpoints.retention import (
    KEEP_TWO,
    Retention,
    SavedCheckpoint,
    best_of,
    iterations_to_delete,
)
from trainers.checkpoints.verification import inspect, verify
from trainers.errors import CheckpointError, DamagedCheckpointError, StorageUnavailableError
from trainers.run.atomic_write import (
    Fence,
    make_final,
    sweep,
    sync_folder,
    temporary_beside,
    unfenced,
)
from trainers.run.failure_class import is_of_this_moment

if TYPE_CHECKING:  # staging imports torch, which login nodes that list checkpoints do without
    from trainers.checkpoints.staging import StagedState

_logger = logging.getLogger(__name__)


def no_op(*_: Any) -> None:
    """Do nothing: the default of callbacks."""


class CheckpointStore(CheckpointReader):
    """Read and write access to the checkpoints of a run. Hold the run's lease while it exists.

    Opening it creates the folder, and deletes the temporary files that killed attempts left.
    Damaged checkpoints are not only skipped, but renamed to `damaged-…` and kept for inspection.

    Args:
        fingerprint: Fingerprint of the run; checkpoints of another run are refused.
        fingerprint_fields: See `CheckpointReader`; also recorded in the checkpoints.
        retention: Which checkpoints to keep; the others are deleted after each commit.
        fence: Called before anything is committed, renamed or deleted; see
            `trainers.run.atomic_write`.
        on_damaged: Called with each checkpoint that is set aside: its old name, its new name, and
            what is wrong with it.

    Raises:
        OSError: The folder cannot be created or written.
    """

    def __init__(
        self,
        folder: Path,
        *,
        fingerprint: str,
        fingerprint_fields: Mapping[str, Any] = {},
        retention: Retention = KEEP_TWO,
        fence: Fence = unfenced,
        on_damaged: Callable[[str, str, str], None] = no_op,
    ) -> None:
        super().__init__(folder, fingerprint=fingerprint, fingerprint_fields=fingerprint_fields)
        self._own_fingerprint = fingerprint
        self.retention = retention
        self._fence = fence
        self._on_damaged = on_damaged
        self._validated: set[int] = set()
        self._manifests: dict[int, Manifest | None] = {}
        """None for those that cannot be read."""
        folder.mkdir(exist_ok=True)
        sync_folder(folder.parent)
        sweep(folder, fence)

    def _candidates(self) -> list[int]:
        try:
            return self._list()
        except FileNotFoundError as error:  # it was created with this object
            raise StorageUnavailableError(
                f"{self._folder} has vanished; if its file system is gone, mount it again"
            ) from error

    def newest_finite(self) -> int | None:
        """Return the iteration of the newest checkpoint whose weights are finite; reads no data."""
        finite = [each.iteration for each in self.saved() if each.is_finite]
        return finite[-1] if finite else None

    def distrust(self, newer_than: int, reason: str) -> int:
        """Set aside the checkpoints after an iteration, as damaged ones are.

        Return the iteration of the newest one that is left, 0 if there is none.

        Raises:
            StorageUnavailableError, OSError: The file system refuses; some may be left.
        """
        for iteration in reversed(self.iterations()):
            if iteration > newer_than:
                self._skip_damaged(iteration, DamagedCheckpointError(reason))
        sync_folder(self._folder)
        left = max(self.iterations(), default=0)
        if left > newer_than:
            raise StorageUnavailableError(f"{self._path(left)} cannot be set aside")
        return left

    def save(self, iteration: int, state: Any, metrics: Mapping[str, float] = {}) -> Path:
        """Commit a checkpoint; on return it survives SIGKILL and a power failure.

        A valid checkpoint of this iteration is left as it is. Imports torch.

        Args:
            state: See `state_encoder` for what it may hold.
            metrics: Means over the iterations since the last checkpoint.

        Raises:
            TypeError: The state holds something that cannot be saved.
            CheckpointError: The file system refused, or as StorageUnavailableError, refuses at
                present; earlier checkpoints are untouched.
        """
        from trainers.checkpoints.staging import Staging

        path = self.commit(iteration, Staging().stage(state), metrics=metrics)
        self.delete_old()
        return path

    def commit(
        self,
        iteration: int,
        staged: StagedState,
        *,
        metrics: Mapping[str, float] = {},
        environment: Mapping[str, str] = {},
        before_commit: Callable[[], None] = no_op,
    ) -> Path:
        """Commit a state that is staged already: `save` without deleting, and without torch.

        Args:
            environment: See `trainers.training.determinism`.
            before_commit: Called before the final rename; an OSError that it raises is handled as
                one of the file system.

        Raises:
            CheckpointError: The file system refused, or as StorageUnavailableError, refuses at
                present; earlier checkpoints are untouched.
        """
        if self._is_saved(iteration):
            return self._path(iteration)
        path = write_checkpoint(
            self._folder,
            iteration,
            staged,
            fingerprint=self._own_fingerprint,
            fingerprint_fields=self._fingerprint_fields,
            environment=environment,
            metrics={name: v for name, v in metrics.items() if math.isfinite(v)},
            before_commit=before_commit,
            fence=self._fence,
        )
        self._validated.add(iteration)
        self._manifests.pop(iteration, None)
        return path

    def _is_saved(self, iteration: int) -> bool:
        if iteration not in self.iterations():
            return False
        manifest = self._manifest(iteration)
        if manifest is not None and not manifest.is_finite:
            self._delete(self._path(iteration))  # of an attempt that went another way from here
            return False
        if iteration not in self._validated and not self._is_whole(iteration):
            return False
        try:
            sync_folder(self._folder)  # a killed attempt may have got no further than the rename
        except OSError as error:
            kind = StorageUnavailableError if is_of_this_moment(error) else CheckpointError
            raise kind(f"cannot write {self._folder}: {error.strerror}") from error
        return True

    def _is_whole(self, iteration: int) -> bool:
        """Return whether a checkpoint can be restored; set it aside if it is damaged."""
        try:
            verify(
                self._path(iteration),
                fingerprint=self._fingerprint,
                fingerprint_fields=self._fingerprint_fields,
            )
        except DamagedCheckpointError as error:
            self._skip_damaged(iteration, error)
            return False
        self._validated.add(iteration)
        return True

    def _read(self, iteration: int) -> Checkpoint:
        checkpoint = super()._read(iteration)
        self._validated.add(iteration)
        return checkpoint

    def _skip_damaged(self, iteration: int, error: DamagedCheckpointError) -> None:
        path = self._path(iteration)
        asides = (path.with_name(f"{DAMAGED_PREFIX}{path.name}-{n}") for n in itertools.count())
        try:
            aside = next(each for each in asides if not each.exists())
            moved = self._move_away(path)
            make_final(moved, aside, self._fence)
            moved.parent.rmdir()
        except OSError as refusal:
            _logger.warning("%s; it cannot be set aside: %s", error, refusal)
        else:
            _logger.warning("%s; it is set aside as %s", error, aside.name)
            self._on_damaged(path.name, aside.name, str(error.__cause__ or error))

    def delete_old(self) -> None:
        """Delete what retention does not keep; call it after each commit."""
        try:
            self._validate_best()
            for iteration in iterations_to_delete(self.saved(), self.retention):
                self._delete(self._path(iteration))
        except (CheckpointError, OSError) as error:
            _logger.warning("no old checkpoints are deleted: %s", error)

    def _validate_best(self) -> None:
        """Verify the best checkpoint, and set it aside if it is damaged, before others are deleted.

        Otherwise a damaged checkpoint with a good metric would cost the run its real best one.
        """
        while True:
            saved = {each.iteration: each for each in self.saved()}
            best = best_of(saved.values(), self.retention.keep_best)
            if best is None or saved[best].is_validated or self._is_whole(best):
                return
            self._manifests[best] = None

    def saved(self) -> list[SavedCheckpoint]:
        """Return all checkpoints, oldest first. Raises StorageUnavailableError."""
        keep_best = self.retention.keep_best
        return [
            SavedCheckpoint(
                iteration=iteration,
                is_validated=iteration in self._validated,
                metric=manifest.metrics.get(keep_best.metric) if manifest and keep_best else None,
                is_finite=manifest is None or manifest.is_finite,
                verified_iteration=manifest.verified_iteration if manifest else None,
            )
            for iteration in self.iterations()
            for manifest in [self._manifest(iteration)]
        ]

    def _manifest(self, iteration: int) -> Manifest | None:
        if iteration not in self._manifests:
            try:
                manifest = inspect(
                    self._path(iteration),
                    fingerprint=self._fingerprint,
                    fingerprint_fields=self._fingerprint_fields,
                )
                # The tree structure of a state is long, and there may be many checkpoints.
                self._manifests[iteration] = attrs.evolve(manifest, state=None)
            except StorageUnavailableError:
                raise  # nothing is deleted for what cannot be read at present
            except CheckpointError:
                self._manifests[iteration] = None
        return self._manifests[iteration]

    def _move_away(self, path: Path) -> Path:
        """Move a checkpoint into a temporary folder; return its path there.

        Raises:
            OSError: That failed; an empty temporary folder may be left.
        """
        self._fence()
        aside = temporary_beside(path)
        aside.mkdir()
        make_final(path, aside / path.name, self._fence)
        return aside / path.name

    def _delete(self, path: Path) -> None:
        """Delete a checkpoint. Moved first, so that a kill leaves nothing half deleted in place."""
        try:
            moved = self._move_away(path)
            shutil.rmtree(moved)
            moved.parent.rmdir()
        except OSError as error:
            _logger.warning(
                "cannot delete %s: %s; it takes up space until that is possible", path, error
            )

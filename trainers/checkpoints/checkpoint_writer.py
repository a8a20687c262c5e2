"""Write and commit one checkpoint atomically and durably."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainers.checkpoints.data_file import write_data
from trainers.checkpoints.layout import MANIFEST_NAME, data_file_name, folder_name
from trainers.checkpoints.manifest import FINITE_KEY, Manifest
from trainers.errors import CheckpointError, StorageUnavailableError, UnavailableError
from trainers.run.atomic_write import Fence, make_final, sync_folder, temporary_beside
from trainers.run.failure_class import is_of_this_moment

if TYPE_CHECKING:
    from trainers.checkpoints.staging import StagedState

_MAKE_ROOM = "make room, then start the run again if it has ended"
_REMEDIES = {
    errno.ENOSPC: _MAKE_ROOM,
    errno.EDQUOT: f"the quota is used up: {_MAKE_ROOM}",
    errno.EROFS: "the file system is read-only; mount it for writing",
    errno.EIO: "the disk, or what connects it, fails; look at the machine's kernel log",
    errno.ENOENT: "the folder has vanished; if its file system is gone, mount it again",
}


def write_checkpoint(
    folder: Path,
    iteration: int,
    staged: StagedState,
    *,
    fingerprint: str,
    fingerprint_fields: Mapping[str, Any],
    environment: Mapping[str, str],
    metrics: Mapping[str, float],
    before_commit: Callable[[], None],
    fence: Fence,
) -> Path:
    """Write one checkpoint into `folder`, and return its path; it survives a power failure.

    Files are written in a temporary folder, each is flushed, then the folder; the rename to the
    final name is the commit, and the parent folder is flushed after it. A `folder` that has
    vanished is created again if its parent exists.

    Args:
        metrics: Finite values.
        before_commit: Called before the rename; may raise OSError.
        fence: See `trainers.run.atomic_write`.

    Raises:
        CheckpointError: The file system refused, or as StorageUnavailableError, refuses at present;
            nothing of this checkpoint is left.
    """
    path = folder / folder_name(iteration)
    temporary = temporary_beside(path)
    free = ""
    try:
        fence()
        _make_folder(folder)
        free = f"; {shutil.disk_usage(folder).free:,} were free"
        temporary.mkdir()
        staged.wait()
        record = write_data(temporary / data_file_name(rank=0), staged.content, staged.num_bytes)
        manifest = Manifest(
            iteration=iteration,
            identity=fingerprint,
            what_counts=dict(fingerprint_fields),
            environment={**environment, FINITE_KEY: str(staged.is_finite()).lower()},
            metrics=dict(metrics),
            files=(record,),
            state=staged.tree_structure,
        )
        _write(temporary / MANIFEST_NAME, manifest.to_bytes())
        sync_folder(temporary)
        before_commit()
        make_final(temporary, path, fence)
        sync_folder(folder)
    except OSError as error:
        if isinstance(error, FileNotFoundError):
            with suppress(UnavailableError):
                fence()  # another process may have taken over, and swept the temporary folder
        remedy = _REMEDIES.get(error.errno or 0, "fix that, then start the run again")
        # A folder that has vanished comes back with its file system.
        passes = is_of_this_moment(error) or isinstance(error, FileNotFoundError)
        raise (StorageUnavailableError if passes else CheckpointError)(
            f"cannot write {path}: {error.strerror}. It needs {staged.num_bytes:,} bytes{free}. "
            f"Earlier checkpoints are untouched: {remedy}."
        ) from error
    finally:
        # `ignore_errors` does not cover closing the folder, which can fail on network file systems.
        with suppress(OSError):
            shutil.rmtree(temporary, ignore_errors=True)
    return path


def _make_folder(folder: Path) -> None:
    with suppress(FileExistsError):
        folder.mkdir()
        sync_folder(folder.parent)


def _write(path: Path, content: bytes) -> None:
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())

"""Commit a checkpoint: it is there as a whole, and stays, or it never was."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from trainers.checkpoints.data_file import write_data
from trainers.checkpoints.layout import MANIFEST_NAME, data_file_name, folder_name
from trainers.checkpoints.manifest import Manifest
from trainers.checkpoints.staging import StagedState
from trainers.errors import CheckpointError
from trainers.run.atomic_write import Fence, make_final, sync_folder, temporary_beside

_MAKE_ROOM = "make room, then start the run again if it has ended"
_REMEDIES = {
    errno.ENOSPC: _MAKE_ROOM,
    errno.EDQUOT: f"the quota is used up: {_MAKE_ROOM}",
    errno.EROFS: "the file system is read-only; have it mounted for writing",
    errno.EIO: "the disk, or what connects it, fails; look at the machine's kernel log",
    errno.ENOENT: "the folder has vanished; if its file system is gone, have it mounted again",
}


def write_checkpoint(
    folder: Path,
    iteration: int,
    staged: StagedState,
    *,
    identity: str,
    what_counts: Mapping[str, Any],
    environment: Mapping[str, str],
    metrics: Mapping[str, float],
    before_commit: Callable[[], None],
    fence: Fence,
) -> Path:
    """Write one checkpoint among those in `folder`; on return it survives a power failure.

    The files grow in a temporary folder; the rename to the final name, last of all, commits them.
    A folder that has vanished is made anew, if the one that it is in is there.

    Args:
        metrics: Finite.
        before_commit: Called before the rename; may raise OSError.
        fence: See `temporaries`.

    Raises:
        CheckpointError: The file system refused; nothing of this checkpoint is left.
    """
    path = folder / folder_name(iteration)
    temporary = temporary_beside(path)
    free = ""
    fence()
    try:
        _make_folder(folder)
        free = f"; {shutil.disk_usage(folder).free:,} were free"
        temporary.mkdir()
        staged.wait()
        record = write_data(temporary / data_file_name(rank=0), staged.content, staged.num_bytes)
        manifest = Manifest(
            iteration=iteration,
            identity=identity,
            what_counts=dict(what_counts),
            environment=dict(environment),
            metrics=dict(metrics),
            files=(record,),
            state=staged.skeleton,
        )
        _write(temporary / MANIFEST_NAME, manifest.to_bytes())
        sync_folder(temporary)
        before_commit()
        make_final(temporary, path, fence)
        sync_folder(folder)
    except OSError as error:
        if isinstance(error, FileNotFoundError):
            fence()  # swept away, it may be
        remedy = _REMEDIES.get(error.errno or 0, "see to it, then start the run again")
        raise CheckpointError(
            f"cannot write {path}: {error.strerror}. It needs {staged.num_bytes:,} bytes{free}. "
            f"Earlier checkpoints are untouched: {remedy}."
        ) from error
    finally:
        with suppress(OSError):  # a failing close is raised in spite of `ignore_errors`
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

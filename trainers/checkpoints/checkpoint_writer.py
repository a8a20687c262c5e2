"""Commit a checkpoint: it is there as a whole, and stays, or it never was."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from trainers.atomic_write import sync_folder
from trainers.checkpoints.environment import current_environment
from trainers.checkpoints.file_record import FileRecord
from trainers.checkpoints.layout import MANIFEST_NAME, data_file_name, folder_name
from trainers.checkpoints.manifest import Manifest
from trainers.errors import CheckpointError
from trainers.temporaries import Fence, make_final, temporary_beside


def write_checkpoint(
    folder: Path, *, iteration: int, identity: str, state: Any, data: memoryview, fence: Fence
) -> Path:
    """Write one checkpoint among those in `folder`; on return it survives a power failure.

    The files grow in a temporary folder; the rename to the final name, last of all, commits them.

    Args:
        state: The skeleton of the state, from `state_codec`.
        data: The content of the safetensors file.
        fence: See `temporaries`.

    Raises:
        CheckpointError: The file system refused; nothing of this checkpoint is left.
    """
    path = folder / folder_name(iteration)
    temporary = temporary_beside(path)
    record = FileRecord.of(data_file_name(rank=0), data)
    manifest = Manifest(
        iteration=iteration,
        identity=identity,
        environment=current_environment(),
        files=(record,),
        state=state,
    ).to_bytes()
    free_bytes = shutil.disk_usage(folder).free
    fence()
    try:
        temporary.mkdir()
        _write(temporary / record.name, data)
        _write(temporary / MANIFEST_NAME, manifest)
        sync_folder(temporary)
        make_final(temporary, path, fence)
        sync_folder(folder)
    except OSError as error:
        if isinstance(error, FileNotFoundError):
            fence()  # swept away, it may be
        raise CheckpointError(
            f"cannot write {path}: {error.strerror}. It needs {len(data) + len(manifest):,} bytes; "
            f"{free_bytes:,} were free. Earlier checkpoints are untouched: make room, "
            "then start the run again."
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return path


def _write(path: Path, content: bytes | memoryview) -> None:
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())

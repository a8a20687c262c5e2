"""One checkpoint, read with every check."""

from __future__ import annotations

import errno
import logging
import stat
from pathlib import Path
from typing import Any

import torch
from attrs import frozen

from trainers.checkpoints.environment import current_environment, differences
from trainers.checkpoints.errors import DamagedCheckpointError
from trainers.checkpoints.layout import MANIFEST_NAME, folder_name
from trainers.checkpoints.manifest import Manifest
from trainers.checkpoints.safetensors_bytes import from_safetensors
from trainers.checkpoints.state_codec import decode
from trainers.errors import CheckpointError

_logger = logging.getLogger(__name__)


@frozen
class Checkpoint:
    """A run as it was after `iteration` iterations."""

    iteration: int
    state: Any


def read_checkpoint(path: Path, *, identity: str) -> Checkpoint:
    """Read the folder of one checkpoint.

    Nothing in it can run: it holds JSON and safetensors. Files are read plainly and never mapped,
    and every byte is compared with its hash before it is used. A checkpoint from another version
    of torch or another type of processor is read with a warning.

    Args:
        identity: Of the run that the checkpoint must belong to.

    Raises:
        DamagedCheckpointError: It is not what was written.
        CheckpointError: It is of another run or schema version, or may not be read.
    """
    try:
        return _read(path, identity)
    except DamagedCheckpointError as error:
        raise DamagedCheckpointError(f"{path} is damaged: {error}") from error
    except CheckpointError as error:
        raise CheckpointError(f"{path} cannot be used: {error}") from error


def _read(path: Path, identity: str) -> Checkpoint:
    manifest = Manifest.from_bytes(_read_file(path / MANIFEST_NAME))
    if manifest.identity != identity:
        raise CheckpointError(
            f"it belongs to a run with identity {manifest.identity!r}; this one has {identity!r}. "
            "Restore the config that it was trained with, or start a run under another name."
        )
    if folder_name(manifest.iteration) != path.name:
        raise DamagedCheckpointError(f"{MANIFEST_NAME} is of iteration {manifest.iteration}")
    changes = differences(manifest.environment, current_environment())
    if changes:
        _logger.warning(
            "%s: since it was written, %s; results may differ", path, ", ".join(changes)
        )
    tensors: dict[str, torch.Tensor] = {}
    try:
        for record in manifest.files:
            data = _read_file(path / record.name)
            record.check(data)
            tensors.update(from_safetensors(data))
        return Checkpoint(manifest.iteration, decode(manifest.state, tensors))
    except (ValueError, RecursionError) as error:
        raise DamagedCheckpointError(str(error)) from error


def _read_file(path: Path) -> bytes:
    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            raise DamagedCheckpointError(f"{path.name} is not a regular file")
        return path.read_bytes()
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.EIO):
            raise DamagedCheckpointError(f"{path.name}: {error.strerror}") from error
        raise CheckpointError(f"{path.name}: {error.strerror}") from error

"""Open the files of a checkpoint, and nothing that lies outside of its folder."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from attrs import frozen

from trainers.checkpoints.aligned_memory import fill
from trainers.checkpoints.data_file import NUM_THREADS, FileRecord, read_data
from trainers.checkpoints.layout import MANIFEST_NAME, folder_name
from trainers.checkpoints.manifest import MAX_BYTES, Manifest
from trainers.config_diff import differences
from trainers.errors import CheckpointError, DamagedCheckpointError

_DAMAGE = (errno.ENOENT, errno.EIO, errno.ELOOP, errno.ENOTDIR)
"""Errors that tell of what is there, and not of whether this process may read it."""


@frozen
class DataFile:
    """A data file whose length is what its record says."""

    record: FileRecord
    descriptor: int

    def check(
        self, view_for: Callable[[int, int], memoryview], num_threads: int = NUM_THREADS
    ) -> None:
        """Read the whole file, and compare it with its hashes; see `read_data`.

        Raises:
            DamagedCheckpointError: The content is not what was written, or cannot be read.
            CheckpointError: It may not be read.
        """
        with _told_of(self.record.name):
            read_data(self.descriptor, self.record, view_for, num_threads=num_threads)

    def read(self, start: int, end: int) -> memoryview:
        """A small piece of the file, unchecked."""
        view = memoryview(bytearray(min(end, self.record.num_bytes) - start))
        with _told_of(self.record.name):
            fill(self.descriptor, view, start)
        return view


@frozen
class CheckpointFiles:
    """The manifest of a checkpoint, and its data files, open."""

    manifest: Manifest
    data: tuple[DataFile, ...]


@contextmanager
def open_checkpoint(
    path: Path, *, identity: str | None, what_counts: Mapping[str, Any]
) -> Iterator[CheckpointFiles]:
    """Open the folder of one checkpoint; what the body raises is told with its path.

    Args:
        identity: Of the run that the checkpoint must belong to; of any if None.
        what_counts: Of that run, to tell what differs.

    Raises:
        DamagedCheckpointError: It is not what was written; ValueErrors of the body count as that.
        CheckpointError: It is of another run or schema version, or may not be read.
    """
    with ExitStack() as stack:
        try:
            with _told_of(path.name):
                folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            stack.callback(os.close, folder)
            manifest = _read_manifest(folder)
            _refuse_other_run(manifest, identity, what_counts)
            if folder_name(manifest.iteration) != path.name:
                raise DamagedCheckpointError(
                    f"{MANIFEST_NAME} is of iteration {str(manifest.iteration)[:20]}"
                )
            data = tuple(_open_data(folder, record, stack) for record in manifest.files)
            yield CheckpointFiles(manifest, data)
        except (DamagedCheckpointError, ValueError, RecursionError) as error:
            raise DamagedCheckpointError(f"{path} is damaged: {error}") from error
        except CheckpointError as error:
            raise CheckpointError(f"{path} cannot be used: {error}") from error


def _read_manifest(folder: int) -> Manifest:
    with ExitStack() as stack:
        descriptor, num_bytes = _open_file(folder, MANIFEST_NAME, stack)
        if num_bytes > MAX_BYTES:
            raise DamagedCheckpointError(
                f"{MANIFEST_NAME} has {num_bytes:,} bytes; allowed: {MAX_BYTES:,}"
            )
        content = memoryview(bytearray(num_bytes))
        with _told_of(MANIFEST_NAME):
            fill(descriptor, content, 0)
    return Manifest.from_bytes(bytes(content))


def _open_data(folder: int, record: FileRecord, stack: ExitStack) -> DataFile:
    descriptor, num_bytes = _open_file(folder, record.name, stack)
    if num_bytes != record.num_bytes:
        raise DamagedCheckpointError(
            f"{record.name} has {num_bytes:,} bytes; {record.num_bytes:,} were written"
        )
    return DataFile(record, descriptor)


def _open_file(folder: int, name: str, stack: ExitStack) -> tuple[int, int]:
    """The descriptor of a regular file and its length; it is closed with the stack."""
    with _told_of(name):
        try:
            # to open a pipe would block
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
            descriptor = os.open(name, flags, dir_fd=folder)
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENXIO):
                raise DamagedCheckpointError(f"{name} is not a regular file") from error
            raise
        stack.callback(os.close, descriptor)
        status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        raise DamagedCheckpointError(f"{name} is not a regular file")
    return descriptor, status.st_size


def _refuse_other_run(
    manifest: Manifest, identity: str | None, what_counts: Mapping[str, Any]
) -> None:
    if identity in (None, manifest.identity):
        return
    found = [str(each) for each in differences(manifest.what_counts, dict(what_counts))]
    what = (
        f"another run: {'; '.join(found)}"
        if found and what_counts
        else f"a run with identity {manifest.identity!r}; this one has {identity!r}"
    )
    raise CheckpointError(
        f"it belongs to {what}. "
        "Restore the config that it was trained with, or start a run under another name."
    )


@contextmanager
def _told_of(name: str) -> Iterator[None]:
    """Turn what the file system says about a file into an error of ours."""
    try:
        yield
    except OSError as error:
        kind = DamagedCheckpointError if error.errno in _DAMAGE else CheckpointError
        raise kind(f"{name}: {error.strerror}") from error

"""Open the files of a checkpoint, and nothing outside its folder."""

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
from trainers.config_diff import are_new_words, differences
from trainers.errors import CheckpointError, DamagedCheckpointError, StorageUnavailableError
from trainers.run.failure_class import is_of_this_moment

_DAMAGE = (errno.ENOENT, errno.ENODATA, errno.ELOOP, errno.ENOTDIR)
"""Errors that mean that the files are bad; any other one, that this process cannot read them."""


@frozen
class DataFile:
    """An open data file whose length matches its record."""

    record: FileRecord
    descriptor: int

    def check(
        self, view_for: Callable[[int, int], memoryview], num_threads: int = NUM_THREADS
    ) -> None:
        """Read the whole file, and compare it with its checksums; see `read_data`.

        Raises:
            DamagedCheckpointError: The content is not what was written.
            StorageUnavailableError: It cannot be read at present.
            CheckpointError: It may not be read.
        """
        with _os_errors_about(self.record.name):
            read_data(self.descriptor, self.record, view_for, num_threads=num_threads)

    def read(self, start: int, end: int) -> memoryview:
        """Return a small part of the file, not compared with any checksum."""
        view = memoryview(bytearray(min(end, self.record.num_bytes) - start))
        with _os_errors_about(self.record.name):
            fill(self.descriptor, view, start)
        return view


@frozen
class CheckpointFiles:
    """The manifest of a checkpoint, and its data files, open."""

    manifest: Manifest
    data: tuple[DataFile, ...]


@contextmanager
def open_checkpoint(
    path: Path, *, fingerprint: str | None, fingerprint_fields: Mapping[str, Any]
) -> Iterator[CheckpointFiles]:
    """Open the folder of one checkpoint; errors of the body are raised with its path.

    Symbolic links are not followed, and data files are opened by name within the folder: a forged
    manifest cannot point elsewhere.

    Args:
        fingerprint: Of the run that the checkpoint must belong to; None accepts any run.
        fingerprint_fields: Of that run, so that the error can list what differs.

    Raises:
        DamagedCheckpointError: It is not what was written; ValueErrors of the body count as that.
        StorageUnavailableError: It cannot be read at present.
        CheckpointError: It is of another run or schema version, or may not be read.
    """
    with ExitStack() as stack:
        try:
            with _os_errors_about(path.name):
                folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            stack.callback(os.close, folder)
            manifest = _read_manifest(folder)
            _refuse_other_run(manifest, fingerprint, fingerprint_fields)
            if folder_name(manifest.iteration) != path.name:
                raise DamagedCheckpointError(
                    f"{MANIFEST_NAME} is of iteration {str(manifest.iteration)[:20]}"
                )
            data = tuple(_open_data(folder, record, stack) for record in manifest.files)
            yield CheckpointFiles(manifest, data)
        except (DamagedCheckpointError, ValueError, RecursionError) as error:
            raise DamagedCheckpointError(f"{path} is damaged: {error}") from error
        except StorageUnavailableError as error:
            raise StorageUnavailableError(
                f"{path} cannot be read at present: {error}. If that persists, move it away: the "
                "run then goes on from the checkpoint before it"
            ) from error
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
        with _os_errors_about(MANIFEST_NAME):
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
    """Return descriptor and length of a regular file; the stack closes it."""
    with _os_errors_about(name):
        try:
            # O_NONBLOCK: opening a pipe would block forever
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
    manifest: Manifest, fingerprint: str | None, fingerprint_fields: Mapping[str, Any]
) -> None:
    if fingerprint in (None, manifest.identity):
        return
    differing = list(differences(manifest.what_counts, dict(fingerprint_fields)))
    if differing and are_new_words(differing):
        return  # the run compares how it understands the arrays
    found = list(map(str, differing))
    what = (
        f"another run: {'; '.join(found)}"
        if found and fingerprint_fields
        else f"a run with fingerprint {manifest.identity!r}; this one has {fingerprint!r}"
    )
    raise CheckpointError(
        f"it belongs to {what}. "
        "Restore the config that it was trained with, or start a run under another name."
    )


@contextmanager
def _os_errors_about(name: str) -> Iterator[None]:
    """Turn an OSError about a file into a CheckpointError that names it."""
    try:
        yield
    except OSError as error:
        if error.errno in _DAMAGE:
            raise DamagedCheckpointError(f"{name}: {error.strerror}") from error
        kind = StorageUnavailableError if is_of_this_moment(error) else CheckpointError
        raise kind(f"{name}: {error.strerror}") from error

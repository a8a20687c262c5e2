"""Write snapshots in the background of the training."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from threading import BoundedSemaphore
from typing import Any

import numpy.typing as npt

from trainers.run.atomic_write import Fence, make_final, sweep, temporary_beside, unfenced
from trainers.snapshots.ome_zarr import write_group, write_image

logger = logging.getLogger(__name__)

MAX_PENDING = 2
"""Snapshots in memory at once: more would let a slow disk fill it."""
MAX_WAIT_S = 30.0
"""For a slow disk; one that takes longer hangs, and costs snapshots instead of time. Less than
`sections.MIN_BOUND_S`, so that the watchdog does not take the training for what hangs."""


class SnapshotWriter:
    """Writes the OME-Zarr images `<iteration>/<name>` into a Zarr group, on a thread of its own.

    A snapshot is whole or absent. An existing one is not written again: an iteration that is
    repeated after a kill gives the same bits. Failures are logged, and training continues.

    Args:
        folder: Such as `snapshots.zarr`; created with the first snapshot.
        fence: Asked before a snapshot is written, and before it is renamed to its final name; see
            `trainers.run.atomic_write`.
    """

    def __init__(self, folder: Path, *, fence: Fence = unfenced) -> None:
        self._folder = folder
        self._fence = fence
        self._pending = BoundedSemaphore(MAX_PENDING)
        self._hangs = False
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="snapshots")
        self._thread.submit(self._sweep)

    def submit(
        self,
        iteration: int,
        arrays: Mapping[str, npt.NDArray[Any]],
        *,
        voxel_size_nm: tuple[float, ...],
        offsets_nm: Mapping[str, tuple[float, ...]],
    ) -> None:
        """Submit a snapshot; blocks while MAX_PENDING earlier ones are not written yet.

        If that takes too long, this one is left out, and so are others until the disk works again.

        Args:
            arrays: [z, y, x] or [c, z, y, x], in 2-D without z; not copied, so do not change them.
            offsets_nm: Position of the lower corner of the first voxel of each array.
        """
        images = {
            name: partial(
                write_image, array=array, voxel_size_nm=voxel_size_nm, offset_nm=offsets_nm[name]
            )
            for name, array in arrays.items()
        }
        if not self._pending.acquire(timeout=0 if self._hangs else MAX_WAIT_S):
            self._hangs = True
            logger.warning("no snapshot of iteration %d: earlier ones are not written", iteration)
            return
        self._hangs = False
        self._thread.submit(self._write, iteration, images)

    def close(self) -> None:
        """Wait until everything is written, unless the disk hangs."""
        last = self._thread.submit(lambda: None)
        try:
            last.result(timeout=0 if self._hangs else MAX_WAIT_S)
        except TimeoutError:
            self._hangs = True
            logger.warning("the last snapshots are not written: %s hangs", self._folder)
        self._thread.shutdown(wait=not self._hangs)

    def _sweep(self) -> None:
        try:
            if self._folder.is_dir():
                sweep(self._folder, self._fence)
        except Exception as error:
            logger.warning("cannot clear up in %s: %r", self._folder, error)

    def _write(self, iteration: int, images: Mapping[str, partial[None]]) -> None:
        try:
            if not (self._folder / str(iteration)).exists():
                self._write_new(iteration, images)
        except Exception as error:  # a snapshot must not end a run
            logger.warning("cannot write the snapshot of iteration %d: %r", iteration, error)
        finally:
            self._pending.release()

    def _write_new(self, iteration: int, images: Mapping[str, partial[None]]) -> None:
        path = self._folder / str(iteration)
        self._fence()
        write_group(self._folder)
        temporary = temporary_beside(path)
        try:
            write_group(temporary)
            for name, write in images.items():
                write(temporary / name)
            make_final(temporary, path, self._fence)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

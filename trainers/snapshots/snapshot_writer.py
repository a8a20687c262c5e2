"""Write snapshots while training goes on."""

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

MAX_WAITING = 2


class SnapshotWriter:
    """Writes the OME-Zarr images `<iteration>/<name>` into a Zarr group, on a thread of its own.

    A snapshot is whole or absent. One that exists already stays as it is: an iteration that comes
    again after a kill looks the same. What fails is logged; training goes on.

    Args:
        folder: Such as `snapshots.zarr`; made with the first snapshot.
        fence: Asked before a snapshot is begun, and before it gets its name; see `temporaries`.
    """

    def __init__(self, folder: Path, *, fence: Fence = unfenced) -> None:
        self._folder = folder
        self._fence = fence
        self._places = BoundedSemaphore(MAX_WAITING)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="snapshots")
        if folder.is_dir():
            sweep(folder, fence)

    def submit(
        self,
        iteration: int,
        arrays: Mapping[str, npt.NDArray[Any]],
        *,
        voxel_size_nm: tuple[float, ...],
        offsets_nm: Mapping[str, tuple[float, ...]],
    ) -> None:
        """Have arrays written; waits while two earlier snapshots are not done yet.

        Args:
            arrays: Of axes [z, y, x] or [c, z, y, x], in 2-D without z; not to be changed later.
            offsets_nm: Where the lower corner of the first voxel of each array lies.
        """
        images = {
            name: partial(
                write_image, array=array, voxel_size_nm=voxel_size_nm, offset_nm=offsets_nm[name]
            )
            for name, array in arrays.items()
        }
        self._places.acquire()
        self._thread.submit(self._write, iteration, images)

    def close(self) -> None:
        """Wait until everything is written."""
        self._thread.shutdown()

    def _write(self, iteration: int, images: Mapping[str, partial[None]]) -> None:
        try:
            if not (self._folder / str(iteration)).exists():
                self._write_new(iteration, images)
        except Exception as error:  # a picture is not worth a run
            logger.warning("no snapshot of iteration %d: %r", iteration, error)
        finally:
            self._places.release()

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

"""Pictures of what a trainer saw, as OME-Zarr."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import BoundedSemaphore
from typing import Any

import numpy.typing as npt
import tensorstore as ts

logger = logging.getLogger(__name__)

MAX_WAITING = 2
_MAX_CHUNK = 128
_TEMPORARY = ".tmp-"

Volumes = Mapping[str, npt.NDArray[Any]]
Lengths = tuple[float, ...]


class SnapshotWriter:
    """Writes the images `<iteration>/<name>` into a Zarr group, on a thread of its own.

    A snapshot is whole or absent. One that exists already stays as it is: an iteration that comes
    again after a kill looks the same. What fails is logged; training goes on.

    Args:
        folder: Such as `snapshots.zarr`; made with the first snapshot.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._places = BoundedSemaphore(MAX_WAITING)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="snapshots")
        for remains in folder.glob(f"{_TEMPORARY}*"):
            shutil.rmtree(remains)

    def submit(
        self,
        iteration: int,
        arrays: Volumes,
        *,
        voxel_size_nm: Lengths,
        offsets_nm: Mapping[str, Lengths],
    ) -> None:
        """Have arrays written; waits while two earlier snapshots are not done yet.

        Args:
            arrays: Of axes [z, y, x] or [c, z, y, x], in 2-D without z; not to be changed later.
            offsets_nm: Where the lower corner of the first voxel of each array lies.
        """
        self._places.acquire()
        self._thread.submit(self._write, iteration, arrays, voxel_size_nm, offsets_nm)

    def close(self) -> None:
        """Wait until everything is written."""
        self._thread.shutdown()

    def _write(
        self,
        iteration: int,
        arrays: Volumes,
        voxel_size_nm: Lengths,
        offsets_nm: Mapping[str, Lengths],
    ) -> None:
        try:
            if not (self._folder / str(iteration)).exists():
                self._write_new(iteration, arrays, voxel_size_nm, offsets_nm)
        except Exception as error:  # a picture is not worth a run
            logger.warning("no snapshot of iteration %d: %r", iteration, error)
        finally:
            self._places.release()

    def _write_new(
        self,
        iteration: int,
        arrays: Volumes,
        voxel_size_nm: Lengths,
        offsets_nm: Mapping[str, Lengths],
    ) -> None:
        temporary = self._folder / f"{_TEMPORARY}{iteration}"
        temporary.mkdir(parents=True)
        for group in (self._folder, temporary):
            _write_group(group)
        for name, array in arrays.items():
            _write_image(temporary / name, array, voxel_size_nm, offsets_nm[name])
        temporary.rename(self._folder / str(iteration))


def _write_image(
    path: Path, array: npt.NDArray[Any], voxel_size_nm: Lengths, offset_nm: Lengths
) -> None:
    num_dims = len(voxel_size_nm)
    is_multi_channel = array.ndim > num_dims
    axes = [{"name": axis, "type": "space", "unit": "nanometer"} for axis in "zyx"[-num_dims:]]
    if is_multi_channel:
        axes = [{"name": "c", "type": "channel"}, *axes]
    scale = [1.0] * is_multi_channel + list(voxel_size_nm)
    translation = [0.0] * is_multi_channel + list(offset_nm)
    transformations = [
        {"type": "scale", "scale": scale},
        {"type": "translation", "translation": translation},
    ]
    image = {
        "version": "0.4",
        "name": path.name,
        "axes": axes,
        "datasets": [{"path": "0", "coordinateTransformations": transformations}],
    }
    path.mkdir()
    _write_group(path, {"multiscales": [image]})
    _write_array(path / "0", array, is_multi_channel)


def _write_array(path: Path, array: npt.NDArray[Any], is_multi_channel: bool) -> None:
    chunks = [min(size, _MAX_CHUNK) for size in array.shape]
    if is_multi_channel:
        chunks[0] = 1
    spec = {
        "driver": "zarr",
        "kvstore": {"driver": "file", "path": str(path)},
        "metadata": {
            "shape": array.shape,
            "chunks": chunks,
            "dtype": array.dtype.str,
            "dimension_separator": "/",
        },
    }
    ts.open(spec, create=True).result().write(array).result()


def _write_group(path: Path, attributes: Mapping[str, Any] | None = None) -> None:
    (path / ".zgroup").write_text(json.dumps({"zarr_format": 2}))
    if attributes:
        (path / ".zattrs").write_text(json.dumps(attributes, indent=1))

"""Read the images of snapshots."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy.typing as npt
import tensorstore as ts
from attrs import frozen

from trainers.errors import DataError


@frozen(kw_only=True)
class SnapshotImage:
    """An image that is open; only the slices that are asked for are read."""

    store: Any
    """[z, y, x] or [c, z, y, x], in 2-D without z."""
    voxel_size_nm: tuple[float, ...]
    start_nm: tuple[float, ...]

    @classmethod
    def open(cls, path: Path) -> SnapshotImage:
        """Open an image such as `RUN/snapshots.zarr/100/raw`.

        Raises:
            DataError: It is not an image as `trainers.snapshots.ome_zarr` writes it.
        """
        try:
            image = json.loads((path / ".zattrs").read_bytes())["multiscales"][0]
            scale, translation = image["datasets"][0]["coordinateTransformations"]
            num_axes = sum(axis["type"] == "space" for axis in image["axes"])
            spec = {"driver": "zarr", "kvstore": {"driver": "file", "path": str(path / "0")}}
            return cls(
                store=ts.open(spec, read=True, open=True).result(),
                voxel_size_nm=tuple(map(float, scale["scale"][-num_axes:])),
                start_nm=tuple(map(float, translation["translation"][-num_axes:])),
            )
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise DataError(f"{path} is not an image of a snapshot: {error}") from error

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.store.shape[-len(self.voxel_size_nm) :])

    @property
    def end_nm(self) -> tuple[float, ...]:
        return tuple(
            start + length * size
            for start, length, size in zip(
                self.start_nm, self.shape, self.voxel_size_nm, strict=True
            )
        )

    def section(self, axis: int | None, position_nm: tuple[float, ...]) -> npt.NDArray[Any]:
        """Return the slice across an axis, [..., row, column]; the nearest one if outside.

        Args:
            axis: None for all of an image in 2-D.

        Raises:
            DataError: It cannot be read.
        """
        where: list[Any] = [slice(None)] * len(self.shape)
        if axis is not None:
            distance = (position_nm[axis] - self.start_nm[axis]) / self.voxel_size_nm[axis]
            where[axis] = min(max(math.floor(distance), 0), self.shape[axis] - 1)
        try:
            voxels: npt.NDArray[Any] = self.store[(..., *where)].read().result()
        except (OSError, ValueError) as error:
            raise DataError(f"a snapshot cannot be read: {error}") from error
        return voxels

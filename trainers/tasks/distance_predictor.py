"""Targets for distances to the boundary of objects."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from trainers.tasks.predictor import Context, Predictor

SATURATION = 3.0
"""Distances are clipped here, in units of the scale: tanh changes by less than 0.005 beyond.

A target then depends on no voxel farther away, so it is the same in whatever block it is computed.
"""


class DistancePredictor(Predictor):
    """tanh(distance / scale): signed tanh boundary distance (Heinrich et al., 2018).

    The distance, in nm and between voxel centers, is that to the nearest voxel of another id;
    positive inside objects, negative in the background (id 0). Objects that touch have a boundary
    between them. `edt` is an exact Euclidean distance transform for many labels at once.
    """

    def __init__(self, scale_nm: float) -> None:
        self._scale_nm = scale_nm
        self._reach_nm = SATURATION * scale_nm

    @property
    def num_channels(self) -> int:
        return 1

    def context(self, voxel_size_nm: tuple[float, ...]) -> Context:
        # rounded first, so that the last bit of a voxel size cannot add a voxel
        reach = tuple(math.ceil(round(self._reach_nm / size, 6)) for size in voxel_size_nm)
        return reach, reach

    def create_target(
        self, gt: npt.NDArray[Any], voxel_size_nm: tuple[float, ...]
    ) -> npt.NDArray[np.float32]:
        signed_nm = np.where(gt != 0, 1, -1) * self._distance_nm(gt, voxel_size_nm)
        block_nm = self._block(signed_nm, voxel_size_nm)
        return np.tanh(block_nm / self._scale_nm).astype(np.float32)[np.newaxis]

    def create_mask(
        self, mask: npt.NDArray[Any], gt: npt.NDArray[Any], voxel_size_nm: tuple[float, ...]
    ) -> npt.NDArray[np.uint8]:
        """Return 1 where no boundary in unknown voxels can be nearer than the one found."""
        known = mask != 0
        if not known.all():
            hidden_nm = _to_other_id_nm(known, voxel_size_nm)
            found_nm = self._distance_nm(gt, voxel_size_nm)
            # 0.999: both may be distances to the same voxel, which differ in the last bit
            known &= (found_nm < 0.999 * hidden_nm) | (hidden_nm >= self._reach_nm)
        return self._block(known, voxel_size_nm).astype(np.uint8)[np.newaxis]

    def _distance_nm(
        self, gt: npt.NDArray[Any], voxel_size_nm: tuple[float, ...]
    ) -> npt.NDArray[np.float32]:
        in_objects_nm = _to_other_id_nm(gt, voxel_size_nm)
        in_background_nm = _to_other_id_nm(gt == 0, voxel_size_nm)
        distance_nm: npt.NDArray[np.float32] = in_objects_nm + in_background_nm
        return distance_nm.clip(max=np.float32(self._reach_nm))

    def _block(self, grown: npt.NDArray[Any], voxel_size_nm: tuple[float, ...]) -> npt.NDArray[Any]:
        """Cut out the output block, as a view."""
        reach, _ = self.context(voxel_size_nm)
        return grown[tuple(slice(n, size - n) for n, size in zip(reach, grown.shape, strict=True))]


def _to_other_id_nm(
    ids: npt.NDArray[Any], voxel_size_nm: tuple[float, ...]
) -> npt.NDArray[np.float32]:
    """Return the distance to the nearest other id, infinite if there is none; 0 where id is 0."""
    import edt

    distance_nm: npt.NDArray[np.float32] = edt.edt(
        np.ascontiguousarray(ids), anisotropy=voxel_size_nm
    )
    return distance_nm

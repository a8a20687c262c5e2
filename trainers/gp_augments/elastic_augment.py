"""The gunpowder node that rotates and bends."""

from __future__ import annotations

import gunpowder as gp
import numpy as np
import numpy.typing as npt

from trainers.errors import ConfigError
from trainers.gp_augments.deformation import (
    planar_rotation,
    random_displacement,
    source_positions,
    uniform_rotation,
)
from trainers.gp_augments.elastic_config import ElasticAugmentConfig
from trainers.gp_augments.warp import warp


class ElasticAugment(gp.BatchFilter):  # type: ignore[misc]
    """Deforms all arrays of a request alike, and asks upstream for what that needs, no more.

    All arrays have the same voxel size. Lengths in the config are in world units.
    """

    def __init__(self, config: ElasticAugmentConfig) -> None:
        self._config = config

    def provide(self, request: gp.BatchRequest) -> gp.Batch:
        voxel_size = self.spec.get_lcm_voxel_size(request.array_specs)
        block = request.get_total_roi() / voxel_size
        if block.dims != len(self._config.control_point_spacing):
            raise ConfigError(
                f"the elastic augment has {len(self._config.control_point_spacing)} values of "
                f"control_point_spacing, and the volumes have {block.dims} axes; give one per axis"
            )
        positions = self._draw(block.shape, voxel_size, np.random.default_rng(request.random_seed))

        upstream = request.copy()
        for key, spec in request.array_specs.items():
            nodes, _ = self._window(spec.roi / voxel_size - block.begin)
            needed = positions[:, *nodes].reshape(block.dims, -1)
            begin = gp.Coordinate(np.floor(needed.min(1)).astype(int))
            end = gp.Coordinate(np.ceil(needed.max(1)).astype(int)) + 1
            upstream[key].roi = gp.Roi(block.begin + begin, end - begin) * voxel_size
        batch = self.get_upstream_provider().request_batch(upstream)

        for key, spec in request.array_specs.items():
            array, target = batch[key], spec.roi / voxel_size
            nodes, start = self._window(target - block.begin)
            origin = np.array(array.spec.roi.begin / voxel_size - block.begin, np.float32)
            array.data = warp(
                array.data,
                positions[:, *nodes] - np.reshape(origin, (-1, *(1,) * block.dims)),
                step=self._config.subsample,
                start=start,
                shape=tuple(target.shape),
                interpolate=self.spec[key].interpolatable,
            )
            array.spec.roi = spec.roi
        return batch

    def _draw(
        self, block_shape: gp.Coordinate, voxel_size: gp.Coordinate, rng: np.random.Generator
    ) -> npt.NDArray[np.float32]:
        config = self._config
        return source_positions(
            block_shape,
            voxel_size,
            step=config.subsample,
            rotation=(
                uniform_rotation(rng)
                if config.uniform_3d_rotation
                else planar_rotation(rng.uniform(*config.rotation_interval), len(block_shape))
            ),
            displacement=random_displacement(
                block_shape,
                step=config.subsample,
                spacing=config.control_point_spacing,
                sigma=config.control_point_displacement_sigma,
                rng=rng,
            ),
        )

    def _window(self, region: gp.Roi) -> tuple[list[slice], tuple[int, ...]]:
        """Nodes that surround a region of the block, and where among their voxels it begins."""
        step = self._config.subsample
        nodes = [
            slice(begin // step, (end - 1) // step + 2)
            for begin, end in zip(region.begin, region.end, strict=True)
        ]
        return nodes, tuple(begin % step for begin in region.begin)

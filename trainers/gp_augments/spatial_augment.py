"""The gunpowder node that mirrors, transposes, rotates and deforms, with a single resampling."""

from __future__ import annotations

import gunpowder as gp
import numpy as np

from trainers.errors import ConfigError
from trainers.gp_augments.coarse_grid import CoarseGrid
from trainers.gp_augments.deformation import (
    planar_rotation,
    random_displacement,
    source_positions,
    uniform_rotation,
)
from trainers.gp_augments.orientation import Orientation
from trainers.gp_augments.spatial_configs import ElasticAugmentConfig
from trainers.gp_augments.thread_safe_node import ThreadSafeNode
from trainers.gp_augments.warp import warp


class SpatialAugment(ThreadSafeNode, gp.BatchFilter):  # type: ignore[misc]
    """A node that changes all arrays alike, and requests upstream only the voxels it needs.

    All arrays have the same voxel size. With `elastic`, interpolatable arrays (raw) become float32,
    within 0..1 if they were unsigned; labels take the nearest voxel and keep dtype and every bit.

    Args:
        is_simple: Whether to mirror and transpose first.
        elastic: How to rotate and deform then, with lengths in world units; None: not at all.
    """

    def __init__(self, *, is_simple: bool, elastic: ElasticAugmentConfig | None = None) -> None:
        self._is_simple = is_simple
        self._elastic = elastic

    def provide(self, request: gp.BatchRequest) -> gp.Batch:
        voxel_size = self.spec.get_lcm_voxel_size(request.array_specs)
        block = request.get_total_roi() / voxel_size
        regions = {key: spec.roi / voxel_size for key, spec in request.array_specs.items()}
        grid = self._grid(block, voxel_size, request.random_seed) if self._elastic else None
        needed, parts = regions, {}
        if grid is not None:
            parts = {key: grid.part(region - block.begin) for key, region in regions.items()}
            needed = {key: part.needed + block.begin for key, part in parts.items()}
        upstream = request.copy()
        orientation = Orientation.unchanged(block.dims)
        if self._is_simple:
            seed = upstream.random_seed if self._elastic else self.seed_of_request
            orientation = Orientation.draw(seed, _exchangeable(voxel_size), block.dims)
        if self._is_simple and self._elastic:
            # `copy` maps the request's seed to the next one. As many copies as two nodes in a row
            # would make give the same samples as when these augments were two nodes.
            upstream = upstream.copy().copy()
        stored = orientation.regions_before(needed)
        for key, region in stored.items():
            upstream[key].roi = region * voxel_size
        batch = self.get_upstream_provider().request_batch(upstream)

        for key, spec in request.array_specs.items():
            array = batch[key]
            if grid is None:
                array.data = orientation.turn(array.data)
            else:
                part = parts[key]
                origin = np.reshape(needed[key].begin - block.begin, (-1, *(1,) * block.dims))
                array.data = warp(
                    array.data,
                    orientation.positions_before(part.positions - origin, stored[key].shape),
                    step=part.step,
                    start=part.start,
                    shape=part.shape,
                    interpolate=self.spec[key].interpolatable,
                )
            array.spec.roi = spec.roi
        return batch

    def _grid(self, block: gp.Roi, voxel_size: gp.Coordinate, seed: int) -> CoarseGrid:
        config = self._elastic
        assert config is not None
        if block.dims != len(config.control_point_spacing):
            raise ConfigError(
                f"the elastic augment has {len(config.control_point_spacing)} values of "
                f"control_point_spacing, and the volumes have {block.dims} axes; give one per axis"
            )
        rng = np.random.default_rng(seed)
        positions = source_positions(
            block.shape,
            voxel_size,
            step=config.subsample,
            rotation=(
                uniform_rotation(rng)
                if config.uniform_3d_rotation
                else planar_rotation(rng.uniform(*config.rotation_interval), block.dims)
            ),
            displacement=random_displacement(
                block.shape,
                step=config.subsample,
                spacing=config.control_point_spacing,
                sigma=config.control_point_displacement_sigma,
                rng=rng,
            ),
        )
        return CoarseGrid(positions, config.subsample)


def _exchangeable(voxel_size: gp.Coordinate) -> list[int]:
    """Return the axes that share their voxel size with another axis."""
    sizes = tuple(voxel_size)
    return [axis for axis, size in enumerate(sizes) if sizes.count(size) > 1]

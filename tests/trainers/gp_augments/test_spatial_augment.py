"""The one spatial node, compared with gunpowder's own nodes."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import Any
from unittest.mock import patch

import augment as stock_augment
import gunpowder as gp
import numpy as np
import numpy.typing as npt
import pytest

from trainers.gp_augments import ElasticAugmentConfig
from trainers.gp_augments.coarse_grid import CoarseGrid
from trainers.gp_augments.spatial_augment import SpatialAugment

RAW, LABELS = gp.ArrayKey("SPATIAL_RAW"), gp.ArrayKey("SPATIAL_LABELS")
SHAPE = (90, 90, 90)
RNG = np.random.default_rng(0)
SMOOTH = sum(
    np.sin(np.arange(90) * frequency + phase).reshape(np.roll((90, 1, 1), axis))
    for axis, (frequency, phase) in enumerate([(0.3, 0.0), (0.2, 1.0), (0.25, 2.0)])
)
VOLUMES: dict[gp.ArrayKey, npt.NDArray[Any]] = {
    RAW: ((SMOOTH + 3) * 42).astype(np.uint8),
    LABELS: RNG.integers(1, 2**50, (9, 9, 9), np.uint64).repeat(10, 0).repeat(10, 1).repeat(10, 2),
}
ELASTIC = ElasticAugmentConfig(
    control_point_spacing=(16, 16, 16),
    control_point_displacement_sigma=(2.0, 2.0, 2.0),
    rotation_interval=(0.0, math.pi / 2),
    subsample=4,
)


class _Source(gp.BatchProvider):
    """Two volumes, and zeros around them."""

    def setup(self) -> None:
        everywhere = gp.Roi((None,) * 3, (None,) * 3)
        for key in VOLUMES:
            self.provides(key, gp.ArraySpec(everywhere, (1, 1, 1), interpolatable=key == RAW))

    def provide(self, request: gp.BatchRequest) -> gp.Batch:
        batch = gp.Batch()
        for key, spec in request.array_specs.items():
            inside = spec.roi.intersect(gp.Roi((0, 0, 0), SHAPE))
            data = np.zeros(spec.roi.shape, VOLUMES[key].dtype)
            data[(inside - spec.roi.begin).to_slices()] = VOLUMES[key][inside.to_slices()]
            given = self.spec[key].copy()
            given.roi = spec.roi
            batch[key] = gp.Array(data, given)
        return batch


def blocks(nodes: Sequence[gp.BatchFilter], seed: int) -> list[npt.NDArray[Any]]:
    pipeline = gp.Pipeline(_Source())
    for node in nodes:
        pipeline += node
    request = gp.BatchRequest(random_seed=seed)
    request[RAW] = gp.ArraySpec(gp.Roi((29, 30, 31), (32, 32, 32)))
    request[LABELS] = gp.ArraySpec(gp.Roi((37, 38, 39), (16, 16, 16)))
    with gp.build(pipeline):
        batch = pipeline.request_batch(request)
        return [batch[key].data for key in (RAW, LABELS)]


@pytest.mark.parametrize("seed", range(20))
def test_mirrors_and_transposes_are_those_of_gunpowder(seed: int) -> None:
    """The same seed gives the same bits, as they are stored."""
    ours, theirs = (
        blocks([SpatialAugment(is_simple=True)], seed),
        blocks([gp.SimpleAugment()], seed),
    )

    for one, other in zip(ours, theirs, strict=True):
        assert one.dtype == other.dtype
        assert np.array_equal(one, other)


@pytest.mark.parametrize("seed", range(10))
def test_one_node_does_what_two_in_a_row_do(seed: int) -> None:
    """Mirrored and bent at once, or one after the other: the same draws, places and labels."""
    together = blocks([SpatialAugment(is_simple=True, elastic=ELASTIC)], seed)
    apart = [gp.SimpleAugment(), SpatialAugment(is_simple=False, elastic=ELASTIC)]
    raw, labels = blocks(apart, seed)

    assert np.abs(together[0] - raw).max() < 1e-5
    assert np.array_equal(together[1], labels)


@pytest.mark.parametrize("seed", range(5))
def test_a_displacement_moves_voxels_as_gunpowder_moves_them(seed: int) -> None:
    """With stock's own displacement, raw differs by less than 1e-5, and labels in 1e-5 of voxels.

    Its grid ends with the block, so that our grid is taken at every voxel.
    """
    random.seed(seed)
    np.random.seed(seed)
    shape = (32, 32, 32)
    settings = {"subsample": 1}
    positions = stock_augment.create_identity_transformation(shape, **settings)
    positions += stock_augment.create_elastic_transformation(
        shape, (8,) * 3, (1.5,) * 3, **settings
    )
    positions += stock_augment.create_rotation_transformation(shape, 0.2 * seed, **settings)
    raw, labels = (volume[29:61, 30:62, 31:63] for volume in (VOLUMES[RAW], VOLUMES[LABELS]))
    expected = stock_augment.apply_transformation(
        raw.astype(np.float32) / 255, positions, interpolate=True
    )
    expected_ids = stock_augment.apply_transformation(labels, positions, interpolate=False)
    grid = np.pad(positions.astype(np.float64), ((0, 0), (0, 1), (0, 1), (0, 1)), "edge")

    with patch.object(SpatialAugment, "_grid", lambda *_: CoarseGrid(grid, 1)):
        pipeline = _Source() + SpatialAugment(is_simple=False, elastic=ELASTIC)
        request = gp.BatchRequest(random_seed=0)
        for key in VOLUMES:
            request[key] = gp.ArraySpec(gp.Roi((29, 30, 31), shape))
        with gp.build(pipeline):
            batch = pipeline.request_batch(request)

    inside = ((positions >= 0) & (positions <= 31)).all(0)  # stock sees zeros outside of its block
    assert inside.mean() > 0.3
    assert np.abs(batch[RAW].data - expected)[inside].max() < 1e-5
    assert (batch[LABELS].data != expected_ids)[inside].mean() < 1e-5

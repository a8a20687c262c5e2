"""The same crops from gunpowder's own nodes."""

from __future__ import annotations

import gunpowder as gp
import zarr
from funlib.persistence import Array

from scripts.benchmarks.bench_stream.settings import (
    ELASTIC_SIGMA,
    ELASTIC_SPACING,
    NEIGHBORHOOD,
    ROTATION,
    SUBSAMPLE,
)
from scripts.benchmarks.bench_stream.volumes import Volume

RAW, LABELS, MASK = (gp.ArrayKey(name) for name in ("RAW", "LABELS", "MASK"))
AFFINITIES, AFFINITIES_MASK = gp.ArrayKey("AFFINITIES"), gp.ArrayKey("AFFINITIES_MASK")


def stock_pipeline(volume: Volume, num_workers: int) -> gp.Pipeline:
    """As a DaCapo-like trainer sets it up; with PreCache if there are workers."""
    raw, labels, mask = (_source(volume, key) for key in (RAW, LABELS, MASK))
    margin = gp.Coordinate(volume.output_shape)  # Pad fails where nothing of a request is inside
    padded = (
        raw + gp.Normalize(RAW) + gp.Pad(RAW, None),
        labels + gp.Pad(LABELS, margin),
        mask + gp.Pad(MASK, margin),
    )
    pipeline = padded + gp.MergeProvider()
    pipeline += gp.RandomLocation() + gp.Reject(MASK, 0.5) + gp.SimpleAugment()
    pipeline += gp.ElasticAugment(
        control_point_spacing=(ELASTIC_SPACING,) * 3,
        jitter_sigma=(ELASTIC_SIGMA,) * 3,
        rotation_interval=ROTATION,
        subsample=SUBSAMPLE,
    )
    pipeline += gp.IntensityAugment(RAW, 0.9, 1.1, -0.1, 0.1)
    pipeline += gp.AddAffinities(
        NEIGHBORHOOD, LABELS, AFFINITIES, labels_mask=MASK, affinities_mask=AFFINITIES_MASK
    )
    if num_workers:
        pipeline += gp.PreCache(cache_size=10, num_workers=num_workers)
    return pipeline


def stock_request(volume: Volume) -> gp.BatchRequest:
    request = gp.BatchRequest()
    request.add(RAW, volume.input_shape)
    for key in (AFFINITIES, AFFINITIES_MASK, LABELS, MASK):
        request.add(key, volume.output_shape)
    return request


def array_sources(volume: Volume) -> gp.Pipeline:
    """Raw, labels and mask, and nothing else."""
    sources = tuple(_source(volume, key) for key in (RAW, LABELS, MASK))
    return sources + gp.MergeProvider()


def _source(volume: Volume, key: gp.ArrayKey) -> gp.ArraySource:
    name = volume.arrays[(RAW, LABELS, MASK).index(key)]
    stored = zarr.open(str(volume.path / name), mode="r")
    return gp.ArraySource(key, Array(stored, (0, 0, 0), (1, 1, 1)), key == RAW)

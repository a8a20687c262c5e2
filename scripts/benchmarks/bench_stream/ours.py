"""The streams of this project."""

from __future__ import annotations

from scripts.benchmarks.bench_stream.settings import (
    ELASTIC_SIGMA,
    ELASTIC_SPACING,
    NEIGHBORHOOD,
    ROTATION,
    SUBSAMPLE,
    VOXEL_SIZE_NM,
)
from scripts.benchmarks.bench_stream.volumes import Volume
from trainers.datasets.dataset import Dataset
from trainers.datasets.dataset_config import ArrayConfig, DatasetConfig
from trainers.datasets.read_options import Reading
from trainers.gp_augments import ElasticAugmentConfig, IntensityAugmentConfig, SimpleAugmentConfig
from trainers.stream.stream_spec import StreamSpec
from trainers.tasks.affinities_predictor import AffinitiesPredictor


def dataset(volume: Volume, *, cache_bytes: int = 0) -> Dataset:
    raw, labels, mask = (
        ArrayConfig(path=volume.path, array=name, voxel_size_nm=(VOXEL_SIZE_NM,) * 3)
        for name in volume.arrays
    )
    opened = DatasetConfig(name=volume.path.stem, raw=raw, gt=labels, mask=mask).build()
    opened.read_with(Reading(cache_bytes=cache_bytes))
    return opened


def spec(volume: Volume, *, cache_bytes: int = 0, seed: int = 0) -> StreamSpec:
    elastic = ElasticAugmentConfig(
        control_point_spacing=(ELASTIC_SPACING,) * 3,
        control_point_displacement_sigma=(ELASTIC_SIGMA * VOXEL_SIZE_NM,) * 3,
        rotation_interval=ROTATION,
        subsample=SUBSAMPLE,
    )
    intensity = IntensityAugmentConfig(scale=(0.9, 1.1), shift=(-0.1, 0.1))
    return StreamSpec(
        datasets=(dataset(volume, cache_bytes=cache_bytes),),
        input_shape=volume.input_shape,
        output_shape=volume.output_shape,
        predictor=AffinitiesPredictor(NEIGHBORHOOD),
        augments=(SimpleAugmentConfig(), elastic, intensity),
        min_masked=0.5,
        seed=seed,
        batch_size=1,
    )

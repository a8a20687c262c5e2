"""What augments do to the samples of a stream."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from trainers.datasets.dataset import Dataset
from trainers.gp_augments import (
    AugmentConfig,
    CustomAugmentConfig,
    ElasticAugmentConfig,
    GammaAugmentConfig,
    IntensityAugmentConfig,
    IntensityScaleShiftAugmentConfig,
    NoiseAugmentConfig,
    SimpleAugmentConfig,
)
from trainers.stream.sample import Sample
from trainers.stream.sample_stream import SampleStream
from trainers.stream.sample_worker import SampleWorker
from trainers.stream.stream_spec import StreamSpec

SpecOf = Callable[..., StreamSpec]
Samples = Callable[..., list[Sample]]

SHAPE = (32, 40, 40)
ELASTIC = ElasticAugmentConfig(
    control_point_spacing=(4, 4, 4),
    control_point_displacement_sigma=(8.0, 8.0, 8.0),
    rotation_interval=(0.0, 2 * math.pi),
    subsample=2,
)
ROTATION = ElasticAugmentConfig(
    control_point_spacing=(4, 4, 4),
    control_point_displacement_sigma=(0.0, 0.0, 0.0),
    rotation_interval=(0.0, 2 * math.pi),
    uniform_3d_rotation=True,
)


@pytest.fixture
def places(make_dataset: Callable[..., Dataset], spec_of: SpecOf) -> Samples:
    """Five samples of a volume whose every voxel says where it is.

    The channels of raw are z, y, x as parts of 64; ids are 2^53 plus the voxel's flat index. The
    ground truth ends 4 voxels inside of raw.
    """

    def make(
        *augments: AugmentConfig, voxel_size_nm: tuple[float, ...] = (8, 8, 8)
    ) -> list[Sample]:
        raw = (np.indices(SHAPE) / 64).astype(np.float32)
        ids = np.arange(np.prod(SHAPE), dtype=np.uint64).reshape(SHAPE) + 2**53
        dataset = make_dataset(
            raw, ids[4:-4, 4:-4, 4:-4], gt_offset=(4, 4, 4), voxel_size_nm=voxel_size_nm
        )
        spec = spec_of(dataset, augments=augments, clip_raw=False)
        with SampleWorker(spec) as maker:
            return [maker.sample(iteration, 0) for iteration in range(5)]

    return make


def place_by_raw(sample: Sample) -> npt.NDArray[np.float32]:
    """Voxel indices `[3, *out]` where raw was taken from."""
    return sample.raw[:, 3:9, 3:9, 3:9] * 64


def place_by_gt(sample: Sample) -> npt.NDArray[np.intp]:
    """The same, of the voxel whose id was taken; where the mask is 0 it means nothing."""
    index = np.where(sample.mask, sample.gt - 2**53, 0).astype(np.int64)
    return np.stack(np.unravel_index(index, SHAPE))


def test_mirrors_and_transposes_keep_raw_and_ids_together(places: Samples) -> None:
    """Each voxel's id still tells exactly where its raw value is from; the samples differ."""
    plain, changed = places(), places(SimpleAugmentConfig())

    for before, after in zip(plain, changed, strict=True):
        assert np.array_equal(np.rint(place_by_raw(after)), place_by_gt(after))
        assert np.array_equal(np.sort(before.gt, axis=None), np.sort(after.gt, axis=None))
    assert any(
        not np.array_equal(before.gt, after.gt)
        for before, after in zip(plain, changed, strict=True)
    )


def test_axes_of_unequal_voxel_size_are_not_exchanged(places: Samples) -> None:
    """Along z of 40 nm only z changes; y and x, both of 4 nm, change places in some samples."""
    changed = places(SimpleAugmentConfig(), voxel_size_nm=(40, 4, 4))

    along_z = [np.diff(place_by_gt(sample), axis=1)[:, 0, 0, 0] for sample in changed]
    along_y = [np.diff(place_by_gt(sample), axis=2)[:, 0, 0, 0] for sample in changed]
    assert all(abs(step).tolist() == [1, 0, 0] for step in along_z)
    assert {tuple(abs(step)) for step in along_y} == {(0, 1, 0), (0, 0, 1)}


@pytest.mark.parametrize("voxel_size_nm", [(8.0, 8.0, 8.0), (40.0, 4.0, 4.0), (3.5, 3.5, 3.5)])
def test_elastic_keeps_raw_and_ids_together(
    places: Samples, voxel_size_nm: tuple[float, ...]
) -> None:
    """The id is that of the voxel nearest to where raw is from."""
    for sample in places(ELASTIC, voxel_size_nm=voxel_size_nm):
        distance = place_by_raw(sample) - place_by_gt(sample)
        assert sample.mask.mean() > 0.1
        assert np.abs(distance[:, sample.mask == 1]).max() < 0.501


def test_rotation_keeps_distances_in_nm(places: Samples) -> None:
    """Of voxels of 40 x 4 x 4 nm, neighbors along z still come from 40 nm apart."""
    size = np.array([40.0, 4.0, 4.0])

    for sample in places(ROTATION, voxel_size_nm=tuple(size)):
        place = place_by_raw(sample) * size.reshape(3, 1, 1, 1)
        for axis, length in enumerate(size):
            steps = np.linalg.norm(np.diff(place, axis=axis + 1), axis=0)
            known = np.delete(sample.mask, 0, axis) & np.delete(sample.mask, -1, axis) == 1
            assert known.any()
            assert np.allclose(steps[known], length, rtol=1e-3)


def test_rotation_in_the_plane_leaves_z_alone(places: Samples) -> None:
    """Without uniform_3d_rotation the angle is one about the z axis."""
    flat = ElasticAugmentConfig(
        control_point_spacing=(4, 4, 4),
        control_point_displacement_sigma=(0.0, 0.0, 0.0),
        rotation_interval=(0.7, 0.7),
    )

    for sample in places(flat):
        place = place_by_raw(sample)
        assert np.ptp(place[0], axis=(1, 2)).max() < 1e-3
        assert np.allclose(np.diff(place[2], axis=2), math.cos(0.7), atol=1e-3)


@pytest.mark.parametrize(
    ("augment", "least", "most"),
    [
        (GammaAugmentConfig(gamma_range=(2.0, 2.0)), 0.25, 0.25),
        (GammaAugmentConfig(gamma_range=(0.5, 2.0)), 0.25, 0.7072),
        (IntensityScaleShiftAugmentConfig(scale=2.0, shift=-1.0), 0.0, 0.0),
        (IntensityAugmentConfig(scale=(1.0, 1.0), shift=(0.8, 0.9)), 1.0, 1.0),
        (IntensityAugmentConfig(scale=(1.0, 1.0), shift=(0.8, 0.8), clip=False), 1.3, 1.3),
        (CustomAugmentConfig(import_path="custom_augments:NegateConfig"), 0.5, 0.5),
    ],
)
def test_intensities(
    make_dataset: Callable[..., Dataset],
    spec_of: SpecOf,
    augment: AugmentConfig,
    least: float,
    most: float,
) -> None:
    """What becomes of a raw value of 0.5."""
    raw = np.full((2, 12, 12, 12), 0.5, np.float32)
    spec = spec_of(make_dataset(raw, np.ones((12, 12, 12), np.uint8)), augments=(augment,))

    with SampleWorker(spec) as maker:
        for iteration in range(5):
            changed = maker.sample(iteration, 0).raw[:, 3:9, 3:9, 3:9]
            assert changed.dtype == np.float32
            assert np.all((changed >= least - 1e-6) & (changed <= most + 1e-6))


def test_contrast_scales_about_the_mean(
    make_dataset: Callable[..., Dataset], spec_of: SpecOf
) -> None:
    """0.4 and 0.6 are 0.2 apart; twice the contrast makes 0.3 and 0.7 of them."""
    raw = np.full((12, 12, 12), 0.4, np.float32)
    raw[:, :, ::2] = 0.6
    augment = IntensityAugmentConfig(scale=(2.0, 2.0), shift=(0.0, 0.0))
    spec = spec_of(
        make_dataset(raw, np.ones_like(raw, np.uint8)), augments=(augment,), output_shape=(12,) * 3
    )

    with SampleWorker(spec) as maker:
        assert np.allclose(np.unique(maker.sample(0, 0).raw.round(5)), [0.3, 0.7])


def test_noise_stays_in_range_and_is_new_for_every_sample(
    make_dataset: Callable[..., Dataset], spec_of: SpecOf
) -> None:
    """Its spread is the one that was asked for."""
    raw = np.full((40, 40, 40), 0.5, np.float32)
    spec = spec_of(
        make_dataset(raw, np.ones_like(raw, np.uint8)),
        augments=(NoiseAugmentConfig(var=0.01),),
        output_shape=(12, 12, 12),
    )

    with SampleWorker(spec) as maker:
        first, second = maker.sample(0, 0).raw, maker.sample(1, 0).raw

    assert first.dtype == np.float32
    assert first.min() >= 0 and first.max() <= 1
    assert abs(first.std() - 0.1) < 0.01
    assert not np.array_equal(first, second)


def test_labels_above_2_to_the_53_give_the_right_affinities(
    make_dataset: Callable[..., Dataset], spec_of: SpecOf
) -> None:
    """Ids that are equal as int32, float32 or float64 stay apart through every augment."""
    ids = np.array([5, 5 + 2**31, 5 + 2**32, 2**53, 2**53 + 1, 2**64 - 1, 0], np.uint64)
    gt = ids[np.random.default_rng(0).integers(0, 7, (10, 10, 10))]
    gt = gt.repeat(3, 0).repeat(3, 1).repeat(3, 2)
    raw = np.random.default_rng(1).integers(0, 256, gt.shape, np.uint8)
    augments = (
        SimpleAugmentConfig(),
        ELASTIC,
        IntensityAugmentConfig(scale=(0.9, 1.1), shift=(-0.1, 0.1)),
        GammaAugmentConfig(gamma_range=(0.5, 2.0)),
        NoiseAugmentConfig(),
    )

    with SampleWorker(spec_of(make_dataset(raw, gt), augments=augments)) as maker:
        samples = [maker.sample(iteration, 0) for iteration in range(10)]

    assert {int(each) for sample in samples for each in np.unique(sample.gt)} == set(map(int, ids))
    for sample in samples:
        here, there = sample.gt[:, :, :-1].ravel().tolist(), sample.gt[:, :, 1:].ravel().tolist()
        expected = [float(a == b != 0) for a, b in zip(here, there, strict=True)]
        assert sample.target[2, :, :, :-1].ravel().tolist() == expected


def test_too_few_control_points_warn(make_dataset: Callable[..., Dataset], spec_of: SpecOf) -> None:
    """The stream says so before the first sample."""
    rigid = ElasticAugmentConfig(
        control_point_spacing=(100, 4, 4),
        control_point_displacement_sigma=(8.0, 8.0, 8.0),
        rotation_interval=(0.0, 1.0),
    )
    block = np.ones((12, 12, 12), np.uint8)
    stream = SampleStream(spec_of(make_dataset(block, block), augments=(rigid,)), 0, 0)

    with pytest.warns(UserWarning, match="every 100 voxels leaves fewer than 2 of them in the 12"):
        stream.__enter__()
    stream.__exit__(None, None, None)

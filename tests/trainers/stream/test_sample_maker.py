"""Samples are functions of seed, iteration and index."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import attrs
import numpy as np
import pytest

from trainers.datasets.dataset import Dataset
from trainers.errors import ConfigError, DataError, StreamError
from trainers.gp_augments import CustomAugmentConfig, IntensityAugmentConfig, NoiseAugmentConfig
from trainers.gp_augments.raw_values import to_unit_range
from trainers.stream.sample import Sample
from trainers.stream.sample_worker import SampleWorker
from trainers.stream.stream_spec import StreamSpec
from trainers.tasks.affinities_predictor import AffinitiesPredictor

SpecOf = Callable[..., StreamSpec]
RNG = np.random.default_rng(0)
RAW = RNG.integers(0, 256, (24, 24, 24), np.uint8)
GT = RNG.integers(0, 4, (24, 24, 24)).astype(np.uint64)


def sample(spec: StreamSpec, iteration: int = 0, index: int = 0) -> Sample:
    with SampleWorker(spec) as maker:
        return maker.sample(iteration, index)


def same(one: Sample, other: Sample) -> bool:
    return all(
        np.array_equal(a, b)
        for a, b in zip(
            attrs.astuple(one, recurse=False), attrs.astuple(other, recurse=False), strict=True
        )
    )


def test_a_sample_has_the_shapes_and_types_that_are_promised(
    make_dataset: Callable[..., Dataset], spec_of: SpecOf
) -> None:
    """Raw has the input's shape, all else the output's; everything is contiguous."""
    made = sample(spec_of(make_dataset(RAW, GT)))

    assert {
        name: (str(array.dtype), array.shape)
        for name, array in attrs.asdict(made, recurse=False).items()
        if isinstance(array, np.ndarray)
    } == {
        "raw": ("uint8", (1, 12, 12, 12)),
        "gt": ("uint64", (6, 6, 6)),
        "target": ("float32", (4, 6, 6, 6)),
        "mask": ("uint8", (6, 6, 6)),
        "target_mask": ("uint8", (4, 6, 6, 6)),
    }
    assert made.dataset == "tiny"
    assert made.raw.flags.c_contiguous and made.gt.flags.c_contiguous


def test_a_sample_says_where_it_is_from(
    make_dataset: Callable[..., Dataset], spec_of: SpecOf
) -> None:
    """Its block in raw's voxel grid, and in nm in the frame of the arrays."""
    dataset = make_dataset(
        RAW, GT[5:], name="plates", gt_offset=(5, 0, 0), voxel_size_nm=(40, 4, 4)
    )

    with SampleWorker(spec_of(dataset)) as maker:
        for index in range(5):
            made = maker.sample(0, index)
            block = tuple(slice(begin, begin + 6) for begin in made.begin)
            assert made.begin[0] >= 5
            assert np.array_equal(made.gt, GT[block])
            assert made.begin_nm == tuple(np.multiply(made.begin, (40.0, 4.0, 4.0)))


def test_the_place_of_a_sample_in_nm_is_that_of_the_files(
    make_dataset: Callable[..., Dataset], spec_of: SpecOf
) -> None:
    """Raw begins somewhere in the world; that is part of the place."""
    dataset = make_dataset(RAW, GT, voxel_size_nm=(40, 4, 4))
    dataset.raw.info = attrs.evolve(dataset.raw.info, offset_nm=(-400.0, 0.5, 8.0))

    made = sample(spec_of(dataset))

    z, y, x = made.begin
    assert made.begin_nm == (40 * z - 400, 4 * y + 0.5, 4 * x + 8)


def test_a_sample_does_not_depend_on_those_before(
    make_dataset: Callable[..., Dataset], spec_of: SpecOf
) -> None:
    """Seed, iteration and index decide, each of them, and nothing else does."""
    spec = spec_of(make_dataset(RAW, GT), augments=(NoiseAugmentConfig(),))
    first = sample(spec, 3, 1)

    with SampleWorker(spec) as maker:
        assert not same(maker.sample(3, 0), first)
        assert not same(maker.sample(4, 1), first)
        assert same(maker.sample(3, 1), first)
    assert same(sample(attrs.evolve(spec, batch_size=9), 3, 1), first)
    assert not same(sample(attrs.evolve(spec, seed=8), 3, 1), first)


def test_nodes_of_gunpowder_are_functions_of_the_seed(
    make_dataset: Callable[..., Dataset], spec_of: SpecOf
) -> None:
    """Even where they draw from the generators of scipy, numpy and Python."""
    augment = CustomAugmentConfig(import_path="custom_augments:DeformConfig")

    with SampleWorker(spec_of(make_dataset(RAW, GT), augments=(augment,))) as maker:
        first = maker.sample(0, 0)
        assert not same(maker.sample(1, 0), first)
        assert same(maker.sample(0, 0), first)


def test_global_random_states_stay_as_they_are(
    make_dataset: Callable[..., Dataset], spec_of: SpecOf
) -> None:
    """In the foreground, samples are made in the trainer's own process, which owns those."""
    spec = spec_of(make_dataset(RAW, GT), augments=(NoiseAugmentConfig(),))
    random.seed(5)
    np.random.seed(5)

    sample(spec)

    drawn = random.random(), np.random.random()
    random.seed(5)
    np.random.seed(5)
    assert drawn == (random.random(), np.random.random())


def test_datasets_are_drawn_by_weight(
    make_dataset: Callable[..., Dataset], spec_of: SpecOf
) -> None:
    """With weights 1 and 3, a quarter of the samples comes from the first."""
    spec = spec_of(
        make_dataset(RAW, GT, name="rare", weight=1),
        make_dataset(RAW, GT, name="common", weight=3),
    )

    with SampleWorker(spec) as maker:
        names = [maker.sample(iteration, 0).dataset for iteration in range(200)]

    assert 30 <= names.count("rare") <= 70


def test_every_dataset_has_its_own_voxel_size(
    make_dataset: Callable[..., Dataset], spec_of: SpecOf
) -> None:
    """Shapes are in voxels, whatever size those have, fractions of a nm included."""
    spec = spec_of(
        make_dataset(RAW, GT, name="coarse", voxel_size_nm=(40, 4, 4)),
        make_dataset(RAW, GT[4:], name="fine", voxel_size_nm=(3.5, 3.5, 3.5), gt_offset=(4, 0, 0)),
    )

    with SampleWorker(spec) as maker:
        made = [maker.sample(iteration, 0) for iteration in range(20)]

    assert {each.dataset for each in made} == {"coarse", "fine"}
    assert {each.raw.shape for each in made} == {(1, 12, 12, 12)}
    assert {each.gt.shape for each in made} == {(6, 6, 6)}


def test_raw_and_ground_truth_show_the_same_place(
    make_dataset: Callable[..., Dataset], spec_of: SpecOf
) -> None:
    """The output block lies in the middle of the input, also if ground truth begins elsewhere."""
    spec = spec_of(make_dataset(RAW, RAW[5:, 6:, 7:].astype(np.int32), gt_offset=(5, 6, 7)))

    for iteration in range(5):
        made = sample(spec, iteration)
        assert np.array_equal(np.rint(to_unit_range(made.raw)[0, 3:9, 3:9, 3:9] * 255), made.gt)


def test_raw_is_read_beyond_the_ground_truth_unless_clipped(
    make_dataset: Callable[..., Dataset], spec_of: SpecOf
) -> None:
    """Ground truth of exactly one output block leaves but one place."""
    bright = np.full_like(RAW, 255)
    dataset = make_dataset(bright, GT[:6, :6, :6], gt_offset=(9, 9, 9))

    assert to_unit_range(sample(spec_of(dataset, clip_raw=True)).raw).sum() == 6**3
    assert to_unit_range(sample(spec_of(dataset, clip_raw=False)).raw).sum() == 12**3


@pytest.mark.parametrize("channels", [1, 3])
def test_two_dimensions_and_channels(
    make_dataset: Callable[..., Dataset], spec_of: SpecOf, channels: int
) -> None:
    """Images of several channels keep them, in order."""
    raw = np.stack([np.full((24, 24), 50 * (c + 1), np.uint8) for c in range(channels)])
    spec = spec_of(
        make_dataset(raw, GT[0]),
        input_shape=(12, 12),
        output_shape=(6, 6),
        predictor=AffinitiesPredictor(((1, 0), (0, 1))),
    )

    made = sample(spec)

    assert made.raw.shape == (channels, 12, 12)
    assert made.target.shape == (2, 6, 6)
    assert np.rint(to_unit_range(made.raw)[:, 6, 6] * 255).tolist() == [50, 100, 150][:channels]


def test_errors_of_the_user_keep_their_kind_and_say_where(
    make_dataset: Callable[..., Dataset], spec_of: SpecOf
) -> None:
    """Raw out of range for an augment is a matter of data, found in this dataset."""
    dataset = make_dataset(RAW.astype(np.float32), GT, name="floats")
    augment = IntensityAugmentConfig(scale=(0.9, 1.1), shift=(0.0, 0.1))

    with pytest.raises(DataError) as caught:
        sample(spec_of(dataset, augments=(augment,)), 4, 1)

    assert str(caught.value).startswith(
        "dataset 'floats', iteration 4, sample 1: raw lies within 0"
    )
    assert "set the `value_range` of the raw array" in str(caught.value)


def test_other_errors_hold_the_traceback_of_where_they_happened(
    make_dataset: Callable[..., Dataset], spec_of: SpecOf
) -> None:
    """gunpowder's own frames around it are left out as far as possible."""
    augment = CustomAugmentConfig(import_path="custom_augments:ReportConfig")

    with pytest.raises(StreamError) as caught:
        sample(spec_of(make_dataset(RAW, GT), augments=(augment,)))

    text = str(caught.value)
    assert text.startswith("dataset 'tiny', iteration 0, sample 0: no sample could be made\n")
    assert "custom_augments.py" in text
    assert "RuntimeError: torch is loaded" in text
    assert "Exception in" not in text


def test_impure_augments_are_refused_before_the_first_sample(
    make_dataset: Callable[..., Dataset], spec_of: SpecOf
) -> None:
    """An augment of the user's own may bring any node, so they are looked at."""
    augment = CustomAugmentConfig(import_path="custom_augments:PreCacheConfig")

    with pytest.raises(ConfigError, match="PreCache cannot be part of the data stream"):
        SampleWorker(spec_of(make_dataset(RAW, GT), augments=(augment,))).__enter__()


def test_no_sample_has_less_mask_than_min_masked(
    make_dataset: Callable[..., Dataset], spec_of: SpecOf
) -> None:
    """Without augments, the delivered mask itself shows it."""
    mask = np.zeros(GT.shape, np.uint8)
    mask[:10, :10] = 1
    dataset = make_dataset(RAW, GT, mask)

    def least(**settings: Any) -> float:
        with SampleWorker(spec_of(dataset, **settings)) as maker:
            return min(float(maker.sample(iteration, 0).mask.mean()) for iteration in range(50))

    assert least() == 0
    assert least(min_masked=0.4) >= 0.4

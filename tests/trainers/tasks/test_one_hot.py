from __future__ import annotations

import numpy as np
import pytest

from trainers.errors import DataError
from trainers.tasks import OneHotTaskConfig, Predictor


def _predictor() -> Predictor:
    return OneHotTaskConfig(classes=("background", "cell", "vesicle")).build_predictor()


def test_one_channel_per_class() -> None:
    """Channel i is 1 where the id is i."""
    gt = np.array([[0, 1], [2, 1]], dtype=np.uint8)

    target = _predictor().create_target(gt, (4.0, 4.0))

    assert target.dtype == np.float32
    assert target.tolist() == [[[1, 0], [0, 0]], [[0, 1], [0, 1]], [[0, 0], [1, 0]]]


def test_ids_that_are_no_class() -> None:
    """Ids outside of the classes are named, together with those that are allowed."""
    gt = np.array([[0, 3], [-1, 2**40]], dtype=np.int64)

    with pytest.raises(DataError) as caught:
        _predictor().create_target(gt, (4.0, 4.0))

    assert str(caught.value) == (
        "the ground truth holds ids that are no class: -1, 3, 1099511627776; "
        "allowed: 0 background, 1 cell, 2 vesicle. "
        "List every class under `task.classes`, or change the ids in the volume."
    )


def test_many_unknown_ids_are_cut_short() -> None:
    """Segmentation given for classes does not fill the screen with ids."""
    with pytest.raises(DataError, match="class: 3, 4, 5, 6, 7, 8, 9, 10, …; allowed"):
        _predictor().create_target(np.arange(1000).reshape(10, 100), (4.0, 4.0))


def test_mask_is_the_same_for_all_classes() -> None:
    """What is not annotated is unknown in every channel."""
    known = _predictor().create_mask(np.array([[0, 255]]), np.array([[0, 0]]), (4.0, 4.0))

    assert known.dtype == np.uint8
    assert known.tolist() == [[[0, 1]], [[0, 1]], [[0, 1]]]


def test_classes_that_are_present_weigh_the_same() -> None:
    """Three known voxels of class 0 weigh as much as the one of class 1; class 2 is absent."""
    gt = np.array([[[0, 0, 0, 1, 1]]])
    predictor = _predictor()
    target = predictor.create_target(gt[0], (4.0, 4.0))[np.newaxis]
    mask = np.array([[[[1, 1, 1, 1, 0]]] * 3], dtype=np.uint8)

    weight = predictor.create_weight(gt, target, mask)

    of_each = [4 / 9, 4 / 9, 4 / 9, 4 / 3, 0]
    assert weight.dtype == np.float32
    assert weight.shape == target.shape
    np.testing.assert_allclose(weight, [[[of_each]] * 3])


def test_batch_is_balanced_as_a_whole() -> None:
    """A class that only one sample has is weighed against the whole batch."""
    gt = np.array([[[0, 0, 0]], [[0, 0, 1]]])
    predictor = OneHotTaskConfig(classes=("no", "yes")).build_predictor()
    target = np.stack([predictor.create_target(each, (4.0, 4.0)) for each in gt])

    weight = predictor.create_weight(gt, target, np.ones(target.shape, np.uint8))

    np.testing.assert_allclose(weight[:, 0, 0], [[0.6, 0.6, 0.6], [0.6, 0.6, 3.0]], rtol=1e-6)


def test_no_context_is_needed() -> None:
    """A class is that of the voxel alone."""
    assert _predictor().context((4.0, 4.0)) == ((0, 0), (0, 0))


def test_class_names_are_distinct() -> None:
    """A name that is there twice is a fault of the config, and shown."""
    with pytest.raises(ValueError, match=r"must be different names; found \['same', 'same'\]"):
        OneHotTaskConfig(classes=("same", "same"))


@pytest.mark.parametrize("classes", [("alone",), ("", "b")])
def test_two_classes_with_names_are_needed(classes: tuple[str, ...]) -> None:
    """Fewer than two classes and empty names are faults of the config."""
    with pytest.raises(ValueError, match="classes"):
        OneHotTaskConfig(classes=classes)

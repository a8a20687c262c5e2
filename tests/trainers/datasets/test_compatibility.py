"""What must hold between the arrays of a dataset, and between them and a model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
import pytest

from trainers.datasets.array_info import ArrayInfo
from trainers.datasets.compatibility import dataset_faults
from trainers.datasets.dataset_config import ArrayConfig, DatasetConfig

ARRAY = ArrayConfig(path=Path("volume.zarr"))
RAW = ArrayInfo(
    path=Path("volume.zarr"),
    driver="zarr",
    stored_axes=("z", "y", "x"),
    shape=(100, 100, 100),
    num_channels=None,
    dtype="uint8",
    voxel_size_nm=(10.0, 10.0, 10.0),
    offset_nm=(0.0, 0.0, 0.0),
    value_range=(0.0, 255.0),
)
GT = attrs.evolve(RAW, dtype="uint64")
NO_CHANNELS = (
    "must have no channel axis; read one of them with `channel`, or, if each channel is a class, "
    "store the classes' numbers: numpy.argmax(voxels, axis=0) with the channels first"
)


def changed(info: ArrayInfo, **values: Any) -> ArrayInfo:
    return attrs.evolve(info, **values)


def faults(infos: dict[str, ArrayInfo], **model: Any) -> list[tuple[str, str]]:
    """What does not fit in a dataset and, unless `model` says otherwise, a 52 → 12 model."""
    arrays: dict[str, Any] = dict.fromkeys(infos, ARRAY)
    config = DatasetConfig(name="fly", **arrays)
    shapes = {"input_shape": (52, 52, 52), "output_shape": (12, 12, 12), **model}
    return dataset_faults(config, infos, **shapes)


@pytest.mark.parametrize(
    "infos",
    [
        {"raw": RAW},
        {"raw": RAW, "gt": GT},
        {"raw": RAW, "gt": GT, "mask": changed(RAW, dtype="float32")},
        {"raw": changed(RAW, num_channels=3), "gt": GT},
        {"raw": changed(RAW, shape=(20, 20, 20)), "gt": changed(GT, shape=(5, 5, 5))},
        {"raw": RAW, "gt": changed(GT, offset_nm=(-500.0, 20.05, 30.0))},
        {"raw": changed(RAW, dtype="float32"), "gt": GT},
        {"raw": RAW, "gt": changed(GT, dtype="bool")},
        {
            "raw": changed(RAW, voxel_size_nm=(108.333,) * 3),
            "gt": changed(GT, voxel_size_nm=(108.333333,) * 3),
        },
        {"raw": RAW, "gt": changed(GT, voxel_size_nm=(10.000001, 10.0, 9.999999))},
    ],
)
def test_what_fits(infos: dict[str, ArrayInfo]) -> None:
    """Arrays may differ in extent and place, be smaller than a block, and raw have channels."""
    assert faults(infos) == []


@pytest.mark.parametrize(
    ("infos", "expected"),
    [
        (
            {"raw": RAW, "gt": changed(GT, voxel_size_nm=(10.0, 8.0, 8.0))},
            [
                "gt: has voxels of [10.0, 8.0, 8.0] nm; must be [10.0, 10.0, 10.0] nm, as raw's "
                "are [10.0, 10.0, 10.0] nm; choose another scale of the volume, or resample it"
            ],
        ),
        (
            {"raw": RAW, "gt": changed(GT, offset_nm=(0.0, 5.0, 0.0))},
            [
                "gt: begins at [0.0, 5.0, 0.0] nm, which is [0.0, 0.5, 0.0] voxels from raw's "
                "[0.0, 0.0, 0.0] nm; it must be whole voxels away; the nearest such place is "
                "`offset_nm: [0.0, 0.0, 0.0]`, which moves the array; or resample it"
            ],
        ),
        (
            {"raw": RAW, "gt": changed(GT, offset_nm=(1000.0, 0.0, 0.0))},
            [
                "gt: lies from [1000.0, 0.0, 0.0] to [2000.0, 1000.0, 1000.0] nm; must overlap "
                "raw, which lies from [0.0, 0.0, 0.0] to [1000.0, 1000.0, 1000.0] nm"
            ],
        ),
        (
            {"raw": RAW, "gt": changed(GT, dtype="float32")},
            ["gt: holds float32; must hold integers, one id per voxel"],
        ),
        (
            {"raw": RAW, "gt": changed(GT, num_channels=3)},
            [f"gt: has 3 channels; {NO_CHANNELS}"],
        ),
        (
            {
                "raw": RAW,
                "gt": changed(GT, shape=(9, 9), voxel_size_nm=(10.0, 10.0), offset_nm=(0.0, 0.0)),
            },
            ["gt: has 2 spatial axes; must have 3, as raw"],
        ),
        (
            {"raw": RAW, "mask": RAW},
            ["mask: has no effect without `gt`; remove it, or set `gt`"],
        ),
        (
            {
                "raw": RAW,
                "gt": changed(GT, shape=(10, 10, 10)),
                "mask": changed(RAW, offset_nm=(500.0, 0.0, 0.0)),
            },
            [
                "mask: lies from [500.0, 0.0, 0.0] to [1500.0, 1000.0, 1000.0] nm; must overlap "
                "gt, which lies from [0.0, 0.0, 0.0] to [100.0, 100.0, 100.0] nm"
            ],
        ),
        (
            {"raw": changed(RAW, dtype="uint32"), "gt": GT},
            [
                "raw: holds uint32, most of whose range is never used; set `value_range` to the "
                "values that should become 0 and 1"
            ],
        ),
        (
            {
                "raw": changed(RAW, voxel_size_nm=(10.0, 1 / 3, 1 / 3)),
                "gt": changed(GT, voxel_size_nm=(10.0, 1 / 3, 1 / 3)),
            },
            [
                "raw: found voxel sizes of [0.3333333333333333, 10.0] nm; at most three decimals "
                "are possible; set `voxel_size_nm` to rounded values"
            ],
        ),
        (
            {
                "raw": RAW,
                "gt": changed(GT, dtype="float64", num_channels=2),
                "mask": changed(RAW, voxel_size_nm=(20.0, 20.0, 20.0)),
            },
            [
                "gt: holds float64; must hold integers, one id per voxel",
                f"gt: has 2 channels; {NO_CHANNELS}",
                "mask: has voxels of [20.0, 20.0, 20.0] nm; must be [10.0, 10.0, 10.0] nm, as "
                "raw's are [10.0, 10.0, 10.0] nm; choose another scale of the volume, or resample "
                "it",
            ],
        ),
    ],
)
def test_what_does_not_fit(infos: dict[str, ArrayInfo], expected: list[str]) -> None:
    """Every fault is found, and says what was found and what must hold."""
    assert [f"{key}: {message}" for key, message in faults(infos)] == expected


@pytest.mark.parametrize(
    ("raw_nm", "gt_nm", "gt_size", "says"),
    [
        (0.0, 5.0, 20.0, "if the offsets of both arrays are centers of voxels"),
        (0.0, 5.0, 10.0, "if the offsets of this array are centers of voxels"),
        (5.0, 0.0, 10.0, "if the offsets of this array are centers of voxels"),
        (0.0, 2.5, 10.0, None),
    ],
)
def test_offsets_that_may_be_centers(
    raw_nm: float, gt_nm: float, gt_size: float, says: str | None
) -> None:
    """Where that explains the half voxel, the message says so, and what to set."""
    raw = changed(RAW, offset_nm=(raw_nm,) * 3)
    gt = changed(GT, offset_nm=(gt_nm,) * 3, voxel_size_nm=(gt_size,) * 3)

    (message,) = [text for _, text in faults({"raw": raw, "gt": gt}) if "begins at" in text]

    assert ("set `offset_is: center`" in message) == (says is not None)
    assert says is None or says in message
    assert "the nearest such place is `offset_nm: [" in message


def test_value_range_lets_wide_integers_pass() -> None:
    """Raw of 32 bits is fine once the config says which of its values matter."""
    raw = ArrayConfig(path=Path("volume.zarr"), value_range=(0, 4095))
    config = DatasetConfig(name="fly", raw=raw)
    infos = {"raw": changed(RAW, dtype="uint32", value_range=(0, 4095))}

    assert dataset_faults(config, infos, input_shape=(8, 8, 8), output_shape=(8, 8, 8)) == []


def test_model_of_other_dimensions() -> None:
    """A 2-D model does not fit 3-D volumes."""
    found = faults({"raw": RAW, "gt": GT}, input_shape=(52, 52), output_shape=(12, 12))

    message = "has 3 spatial axes; must have 2, as the model's input [52, 52]"
    assert found == [("raw", message)]


def test_model_that_changes_the_voxel_size() -> None:
    """Ground truth must have the voxels that come out of the model, on a grid from raw's first."""
    twice = changed(GT, voxel_size_nm=(20.0, 20.0, 20.0), offset_nm=(40.0, 0.0, 0.0))
    model = {"output_shape": (6, 6, 6), "output_scale": (2.0, 2.0, 2.0)}

    assert faults({"raw": RAW, "gt": twice}, **model) == []
    assert [key for key, _ in faults({"raw": RAW, "gt": GT}, **model)] == ["gt"]


def test_output_between_voxels() -> None:
    """The output block must begin at a whole voxel when it lies in the middle of the input."""
    assert faults({"raw": RAW, "gt": GT}, input_shape=(52, 52, 51)) == [
        (
            "gt",
            "cannot be cut at the middle of the model's input [52, 52, 51]: the output "
            "[12, 12, 12] would begin [20.0, 20.0, 19.5] voxels from its edge; choose shapes that "
            "differ by an even number",
        )
    ]

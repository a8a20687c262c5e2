"""Voxel sizes, places and axes, as every format says them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from tests.trainers.datasets.volumes import (
    counting,
    write_json,
    write_n5,
    write_ome_zarr2,
    write_ome_zarr3,
    write_precomputed,
    write_zarr2,
    write_zarr3,
)
from trainers.datasets.array_info import ArrayInfo, read_array_info
from trainers.datasets.dataset_config import ArrayConfig
from trainers.errors import DataError

VOXELS = counting((5, 6, 7))
SCALE = {"type": "scale", "scale": [40, 4, 4]}


def look(path: Path, array: str = "", **overrides: Any) -> ArrayInfo:
    return read_array_info(ArrayConfig(path=path, array=array, **overrides))


def test_simple_zarr_attributes(tmp_path: Path) -> None:
    """A zarr array may give voxel size and offset itself, in nm unless it names units."""
    write_zarr2(tmp_path / "raw", VOXELS, voxel_size=[40, 4, 4], offset=[400, 8, 0])

    assert look(tmp_path, "raw") == ArrayInfo(
        path=tmp_path / "raw",
        driver="zarr",
        stored_axes=("z", "y", "x"),
        shape=(5, 6, 7),
        num_channels=None,
        dtype="uint8",
        voxel_size_nm=(40.0, 4.0, 4.0),
        offset_nm=(400.0, 8.0, 0.0),
        value_range=(0.0, 255.0),
    )


def test_units_beside_simple_attributes(tmp_path: Path) -> None:
    """Micrometres become nm without the noise of a floating-point product."""
    write_zarr3(
        tmp_path,
        VOXELS,
        resolution=[0.00524, 0.004, 0.004],
        offset=[1, 0, 0],
        units=["um", "µm", "micrometer"],
    )

    info = look(tmp_path)
    assert info.driver == "zarr3"
    assert info.voxel_size_nm == (5.24, 4.0, 4.0)
    assert info.offset_nm == (1000.0, 0.0, 0.0)


@pytest.mark.parametrize("write", [write_ome_zarr2, write_ome_zarr3])
def test_ome_zarr(tmp_path: Path, write: Any) -> None:
    """OME-Zarr 0.4 and 0.5: the level's transformations come first, the image's after them."""
    write(
        tmp_path / "raw",
        VOXELS,
        unit="micrometer",
        level=[
            {"type": "scale", "scale": [0.02, 0.002, 0.002]},
            {"type": "translation", "translation": [1, 0, 0]},
        ],
        image=[
            {"type": "scale", "scale": [2, 2, 2]},
            {"type": "translation", "translation": [0, 0, 0.5]},
        ],
    )

    info = look(tmp_path, "raw/s0")
    assert info.voxel_size_nm == (40.0, 4.0, 4.0)
    assert info.offset_nm == (2000.0, 0.0, 500.0)


def test_ome_zarr_goes_before_attributes_of_the_array(tmp_path: Path) -> None:
    """Where the image and the array disagree, the image holds."""
    write_ome_zarr2(tmp_path, VOXELS, level=[SCALE])
    write_json(tmp_path / "s0" / ".zattrs", {"voxel_size": [1, 1, 1]})

    assert look(tmp_path, "s0").voxel_size_nm == (40.0, 4.0, 4.0)


def test_image_further_up(tmp_path: Path) -> None:
    """The image's group may lie above the container that the config names."""
    write_ome_zarr2(tmp_path, VOXELS, level=[SCALE])

    assert look(tmp_path / "s0").voxel_size_nm == (40.0, 4.0, 4.0)


@pytest.mark.parametrize(
    ("axes", "shape", "expected_shape", "channels"),
    [
        ("yx", (6, 7), (6, 7), None),
        ("czyx", (2, 5, 6, 7), (5, 6, 7), 2),
        ("zyxc", (5, 6, 7, 3), (5, 6, 7), 3),
        ("czyx", (1, 5, 6, 7), (5, 6, 7), None),
        ("tczyx", (1, 2, 5, 6, 7), (5, 6, 7), 2),
        ("xyz", (7, 6, 5), (5, 6, 7), None),
    ],
)
def test_axes(
    tmp_path: Path,
    axes: str,
    shape: tuple[int, ...],
    expected_shape: tuple[int, ...],
    channels: int | None,
) -> None:
    """Spatial values are in z, y, x order wherever the axes are stored; c may stand anywhere."""
    size = {"z": 40, "y": 4, "x": 8}
    scale = {"type": "scale", "scale": [size.get(axis, 1) for axis in axes]}
    write_ome_zarr2(tmp_path, counting(shape), axes=axes, level=[scale])

    info = look(tmp_path, "s0")
    assert info.shape == expected_shape
    assert info.num_channels == channels
    assert info.voxel_size_nm == (40.0, 4.0, 8.0)[-len(expected_shape) :]
    assert info.stored_axes == tuple(axes)


def test_dacapo_channel_axis(tmp_path: Path) -> None:
    """DaCapo marks channel axes with a caret, and gives values for the spatial axes only."""
    write_zarr2(
        tmp_path,
        counting((2, 5, 6, 7)),
        axis_names=["c^", "z", "y", "x"],
        voxel_size=[40, 4, 4],
        offset=[80, 0, 0],
        units=["nm", "nm", "nm"],
    )

    info = look(tmp_path)
    assert (info.num_channels, info.shape) == (2, (5, 6, 7))
    assert (info.voxel_size_nm, info.offset_nm) == ((40.0, 4.0, 4.0), (80.0, 0.0, 0.0))


def test_names_of_zarr3_dimensions(tmp_path: Path) -> None:
    """Without other names, those of the dimensions of a zarr 3 array count."""
    write_zarr3(tmp_path, VOXELS, voxel_size=[4, 8, 40])
    metadata = (tmp_path / "zarr.json").read_text()
    (tmp_path / "zarr.json").write_text(
        metadata.replace('"shape"', '"dimension_names":["x","y","z"],"shape"', 1)
    )

    assert look(tmp_path).voxel_size_nm == (40.0, 8.0, 4.0)


@pytest.mark.parametrize(
    ("attributes", "above", "voxel_size", "offset"),
    [
        ({"resolution": [4, 4, 40], "offset": [8, 0, 400]}, {}, (40, 4, 4), (400, 0, 8)),
        (
            {"pixelResolution": {"dimensions": [0.004, 0.004, 0.04], "unit": "um"}},
            {},
            (40, 4, 4),
            (0, 0, 0),
        ),
        (
            {"pixelResolution": {"dimensions": [4, 4, 40], "unit": "nm"}},
            {"scales": [[1, 1, 1], [2, 2, 1]]},
            (40, 4, 4),
            (0, 0, 0),
        ),
        (
            {"downsamplingFactors": [2, 2, 1]},
            {"resolution": [4, 4, 40]},
            (40, 8, 8),
            (0, 0, 0),
        ),
        (
            {},
            {"resolution": [4, 4, 40], "downsamplingFactors": [[1, 1, 1], [2, 2, 1]]},
            (40, 8, 8),
            (0, 0, 0),
        ),
        (
            {
                "transform": {
                    "axes": ["z", "y", "x"],
                    "scale": [3.24, 4, 4],
                    "translate": [0, 2, 0],
                    "units": ["nm", "nm", "nm"],
                }
            },
            {},
            (3.24, 4, 4),
            (0, 2, 0),
        ),
    ],
)
def test_n5(
    tmp_path: Path,
    attributes: dict[str, Any],
    above: dict[str, Any],
    voxel_size: tuple[float, ...],
    offset: tuple[float, ...],
) -> None:
    """N5 lists x first; a pyramid may keep its voxel size and factors in the folder above."""
    write_n5(tmp_path / "s1", VOXELS, **attributes)
    write_json(tmp_path / "attributes.json", above)

    info = look(tmp_path, "s1")
    assert (info.driver, info.shape, info.stored_axes) == ("n5", (5, 6, 7), ("x", "y", "z"))
    assert (info.voxel_size_nm, info.offset_nm) == (voxel_size, offset)


def test_precomputed(tmp_path: Path) -> None:
    """A precomputed volume begins at its voxel offset; a scale has a key and a number."""
    write_precomputed(tmp_path, VOXELS, voxel_offset_xyz=(10, 20, 30))
    write_precomputed(tmp_path, VOXELS[:, ::2, ::2], resolution_xyz=(8, 8, 40), key="8_8_40")

    first = look(tmp_path)
    assert (first.scale_index, first.shape) == (0, (5, 6, 7))
    assert first.voxel_size_nm == (40.0, 4.0, 4.0)
    assert first.offset_nm == (1200.0, 80.0, 40.0)
    second = look(tmp_path, "8_8_40")
    assert (second.scale_index, second.shape) == (1, (5, 3, 4))
    assert second == look(tmp_path, "1")


def test_overrides(tmp_path: Path) -> None:
    """What the config says holds, also where the files say nothing or something unknown."""
    write_ome_zarr2(tmp_path, VOXELS, unit="pixel", level=[SCALE])

    info = look(
        tmp_path, "s0", voxel_size_nm=(30, 3, 3), offset_nm=(9, 0, -3), value_range=(10, 200)
    )
    assert (info.voxel_size_nm, info.offset_nm) == ((30, 3, 3), (9, 0, -3))
    assert info.value_range == (10, 200)


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        ("bool", (0.0, 1.0)),
        ("uint16", (0.0, 65535.0)),
        ("int8", (-128.0, 127.0)),
        ("float32", None),
    ],
)
def test_value_range_of_a_type(
    tmp_path: Path, dtype: str, expected: tuple[float, float] | None
) -> None:
    """Without a value range, integers use all of their type's and floats stay as they are."""
    write_zarr2(tmp_path, counting((4, 4), dtype), voxel_size=[4, 4])

    info = look(tmp_path)
    assert (info.dtype, info.value_range) == (dtype, expected)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (
            {"unit": "pixel", "level": [SCALE]},
            "its files give [40.0, 4.0, 4.0] in the units ['pixel', 'pixel', 'pixel']; expected "
            "finite numbers in a unit of length; set `voxel_size_nm`",
        ),
        (
            {"unit": None, "level": [SCALE]},
            "its files give [40.0, 4.0, 4.0] in the units [None, None, None]; expected finite "
            "numbers in a unit of length; set `voxel_size_nm`",
        ),
        (
            {"level": [SCALE, {"type": "translation", "translation": [0, 0, math.inf]}]},
            "its files give [0.0, 0.0, inf] in the units ['nanometer', 'nanometer', 'nanometer']; "
            "expected finite numbers in a unit of length; set `offset_nm`",
        ),
        (
            {"level": [{"type": "scale", "scale": [40, 4, 0]}]},
            "its files give a voxel size of [40.0, 4.0, 0.0] nm; it must be more than 0; "
            "set `voxel_size_nm`",
        ),
        (
            {"level": [{"type": "scale", "scale": [40, 4]}]},
            "its metadata are not understood: found the coordinate transformation "
            "{'type': 'scale', 'scale': [40, 4]} for the axes z, y, x; only scale and translation "
            "with a value for each axis are understood; set `voxel_size_nm` and `offset_nm`",
        ),
        (
            {"level": [{"type": "rotation"}]},
            "its metadata are not understood: found the coordinate transformation "
            "{'type': 'rotation'} for the axes z, y, x; only scale and translation with a value "
            "for each axis are understood; set `voxel_size_nm` and `offset_nm`",
        ),
        (
            {"axes": "abc", "level": [SCALE]},
            "has the shape [5, 6, 7] and the axes [a, b, c]; expected z, y, x or y, x among them; "
            "set `axes`",
        ),
        (
            {"axes": "tyx", "level": [SCALE]},
            "has the shape [5, 6, 7] and the axes [t, y, x]; besides z, y, x, c an axis must have "
            "length 1; set `time`",
        ),
        (
            {"axes": "yx", "level": [{"type": "scale", "scale": [4, 4]}]},
            "has the shape [5, 6, 7] and the axes [y, x]; expected one name for each axis; "
            "set `axes`",
        ),
    ],
)
def test_unusable_metadata(tmp_path: Path, image: dict[str, Any], message: str) -> None:
    """Metadata that leave a question open are refused; nothing is guessed."""
    write_ome_zarr2(tmp_path, VOXELS, **image)

    with pytest.raises(DataError) as caught:
        look(tmp_path, "s0")

    assert str(caught.value) == f"{tmp_path}/s0: {message}"


def test_missing_voxel_size(tmp_path: Path) -> None:
    """A voxel is never taken to be 1 nm."""
    write_zarr2(tmp_path, VOXELS)

    with pytest.raises(DataError) as caught:
        look(tmp_path)

    assert str(caught.value) == (
        f"{tmp_path}: its files do not give the voxel size; set `voxel_size_nm`"
    )


def test_override_with_too_few_values(tmp_path: Path) -> None:
    """A value for each spatial axis is needed."""
    write_zarr2(tmp_path, VOXELS)

    with pytest.raises(DataError, match=r"`voxel_size_nm` is \[4, 4\]; expected 3 values: z, y, x"):
        look(tmp_path, voxel_size_nm=(4, 4))


def test_missing_array(tmp_path: Path) -> None:
    """The error lists the arrays that there are, and the likeliest one."""
    write_zarr2(tmp_path / "raw/s0", VOXELS)
    write_zarr3(tmp_path / "labels/s0", VOXELS)
    write_n5(tmp_path / "mask", VOXELS)

    with pytest.raises(DataError) as caught:
        look(tmp_path, "row/s0")

    assert str(caught.value) == (
        f"{tmp_path}: `array` is none of its arrays: found 'row/s0'; did you mean 'raw/s0'? "
        "allowed: labels/s0, mask, raw/s0"
    )


def test_missing_scale(tmp_path: Path) -> None:
    """The error lists the scales that there are."""
    write_precomputed(tmp_path, VOXELS, key="4_4_40")

    with pytest.raises(DataError) as caught:
        look(tmp_path, "4_4_4")

    assert str(caught.value) == (
        f"{tmp_path}: `array` is none of the volume's scales: found '4_4_4'; "
        "did you mean '4_4_40'? allowed: 4_4_40"
    )


def test_missing_container(tmp_path: Path) -> None:
    """A folder that is not there, and one without arrays, are told apart."""
    with pytest.raises(DataError, match="no such directory"):
        look(tmp_path / "missing")
    with pytest.raises(DataError, match="holds no zarr, N5 or neuroglancer precomputed array"):
        look(tmp_path)


def test_torn_metadata(tmp_path: Path) -> None:
    """A metadata file that is not JSON is named."""
    write_zarr2(tmp_path, VOXELS)
    (tmp_path / ".zarray").write_text('{"shape": [5,')

    with pytest.raises(DataError, match=r"\.zarray: cannot be read as JSON"):
        look(tmp_path)


def test_unknown_type(tmp_path: Path) -> None:
    """Complex numbers and records are refused with the types that work."""
    write_zarr2(tmp_path, VOXELS.astype("complex64"), voxel_size=[4, 4, 4])

    with pytest.raises(DataError, match="holds <c8; understood: bool, uint8, uint16"):
        look(tmp_path)

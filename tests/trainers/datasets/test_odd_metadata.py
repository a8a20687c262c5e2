"""Metadata of older, newer and house-made writers; and what the config says, before all of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.http_server import serving
from tests.trainers.datasets.volumes import (
    counting,
    write_json,
    write_n5,
    write_precomputed,
    write_zarr2,
    write_zarr3,
)
from trainers.datasets.array_info import ArrayInfo, read_array_info
from trainers.datasets.dataset_config import ArrayConfig
from trainers.errors import DataError, DataUnavailableError

VOXELS = counting((5, 6, 7))
SPACE = [{"name": axis, "type": "space", "unit": "nanometer"} for axis in "zyx"]
TRANSFORM = {"axes": ["z", "y", "x"], "scale": [8, 4, 2], "translate": [0, 0, 0]}
NM = {"units": ["nm"] * 3}


def look(path: Path, array: str = "", **given: Any) -> ArrayInfo:
    return read_array_info(ArrayConfig(path=path, array=array, **given))


def write_image(group: Path, text: str, **attributes: Any) -> None:
    """A zarr 2 group with these attributes, as text, and the array s0."""
    write_zarr2(group / "s0", VOXELS, **attributes)
    write_json(group / ".zgroup", {"zarr_format": 2})
    (group / ".zattrs").write_text(text)


def image(**entry: Any) -> str:
    return json.dumps({"multiscales": [entry]})


@pytest.mark.parametrize(
    "text",
    [
        image(version="0.1", datasets=[{"path": "s0"}]),
        image(version="0.2", datasets=[{"path": "s0"}], metadata={"method": "mean"}),
        image(version="0.3", axes=["z", "y", "x"], datasets=[{"path": "s0"}]),
    ],
)
def test_ome_zarr_before_0_4(tmp_path: Path, text: str) -> None:
    """It knows no voxel size; axes may be texts, or not there."""
    write_image(tmp_path, text)

    with pytest.raises(DataError, match="do not give the voxel size; set `voxel_size_nm`"):
        look(tmp_path, "s0")
    assert look(tmp_path, "s0", voxel_size_nm=(8, 4, 2)).stored_axes == ("z", "y", "x")


@pytest.mark.parametrize("kind", ["image", "array", "N5 array", "N5 group"])
def test_cosem(tmp_path: Path, kind: str) -> None:
    """`transform` stands in the image or in the array, in zarr and in N5."""
    transform = {**TRANSFORM, **NM}
    level = {"path": "s0", "transform": transform}
    if kind == "image":
        write_image(tmp_path, image(name="", datasets=[level]))
    elif kind == "array":
        write_zarr2(tmp_path / "s0", VOXELS, transform=transform)
    else:
        given = {"transform": transform} if kind == "N5 array" else {}
        write_n5(tmp_path / "s0", VOXELS, **given)
        write_json(tmp_path / "attributes.json", {"multiscales": [{"datasets": [level]}]})

    info = look(tmp_path, "s0")
    assert (info.shape, info.voxel_size_nm) == ((5, 6, 7), (8, 4, 2))


@pytest.mark.parametrize(
    ("names", "axes"),
    [
        ([None, None, None], "zyx"),
        (["dim_0", "dim_1", "dim_2"], "zyx"),
        ([None, "y", "x"], "zyx"),
        (["X", "Y", "Z"], "xyz"),
    ],
)
@pytest.mark.parametrize("kind", ["zarr 3", "xarray"])
def test_names_that_say_nothing(tmp_path: Path, names: list[str], axes: str, kind: str) -> None:
    """They count as no names; others are read wherever they stand."""
    attributes: dict[str, Any] = {"voxel_size": [8, 4, 2]}
    if kind == "xarray":
        write_zarr2(tmp_path, VOXELS, _ARRAY_DIMENSIONS=names, **attributes)
    else:
        write_zarr3(tmp_path, VOXELS, **attributes)
        path = tmp_path / "zarr.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "dimension_names": names}))

    info = look(tmp_path)
    assert info.stored_axes == tuple(axes)
    assert info.shape == ((5, 6, 7) if axes == "zyx" else (7, 6, 5))


ODD = {
    "a comma too many": '{"a": 1,}',
    "nothing": "",
    "a list": "[]",
    "affine": image(
        version="0.5",
        axes=SPACE,
        datasets=[{"path": "s0", "coordinateTransformations": [{"type": "affine", "affine": []}]}],
    ),
    "too few values": image(
        version="0.4",
        axes=SPACE,
        datasets=[{"path": "s0", "coordinateTransformations": [{"type": "scale", "scale": [8]}]}],
    ),
    "transformations are no list": image(
        axes=SPACE, datasets=[{"path": "s0", "coordinateTransformations": 8}]
    ),
    "a transform without units": image(datasets=[{"path": "s0", "transform": TRANSFORM}]),
    "no voxel size": image(axes=SPACE, datasets=[{"path": "s0"}]),
    "multiscales null": '{"multiscales": null}',
    "no datasets": image(version="0.4"),
    "axes are a number": image(axes=3, datasets=[{"path": "s0"}]),
    "axes without names": image(axes=[{"type": "space"}] * 3, datasets=[{"path": "s0"}]),
}
ODD_ARRAYS: dict[str, dict[str, Any]] = {
    "voxel size of 0": {"voxel_size": [0, 0, 0]},
    "voxel size as text": {"voxel_size": "8x8x8"},
    "voxel size of NaN": {"voxel_size": [float("nan")] * 3},
    "resolution as a number": {"resolution": 8},
    "offset with two values": {"voxel_size": [8] * 3, "offset": [0, 0]},
    "units as a number": {"voxel_size": [8] * 3, "units": 3},
    "unknown units": {"voxel_size": [8] * 3, "units": "furlong"},
    "a transform that is a text": {"transform": "8 4 2"},
}


@pytest.mark.parametrize("odd", [*ODD, *ODD_ARRAYS])
def test_metadata_that_are_not_needed_do_not_stand_in_the_way(tmp_path: Path, odd: str) -> None:
    """With voxel size and offset in the config; without, the message says what to set."""
    write_image(tmp_path, ODD.get(odd, "{}"), **ODD_ARRAYS.get(odd, {}))

    info = look(tmp_path, "s0", voxel_size_nm=(8, 4, 2), offset_nm=(16, 0, 0))

    assert (info.voxel_size_nm, info.offset_nm) == ((8, 4, 2), (16, 0, 0))
    with pytest.raises(DataError, match=r"; set `(voxel_size_nm|offset_nm)`") as caught:
        look(tmp_path, "s0")
    assert "Error:" not in str(caught.value)


@pytest.mark.parametrize(
    ("attributes", "above"),
    [
        ({"resolution": 8}, {}),
        ({"pixelResolution": {"dimensions": [8, 4]}}, {}),
        ({"transform": {"scale": [1]}}, {}),
        ({"axes": 3, "downsamplingFactors": "2"}, {"resolution": [4, 4, 4]}),
        ({}, {"resolution": [4, 4, 4], "downsamplingFactors": [[1, 1, 1]]}),
    ],
)
def test_odd_n5(tmp_path: Path, attributes: dict[str, Any], above: dict[str, Any]) -> None:
    """The same for N5, where the folder above counts too."""
    write_n5(tmp_path / "s1", VOXELS)
    path = tmp_path / "s1/attributes.json"
    write_json(path, {**json.loads(path.read_text()), **attributes})
    write_json(tmp_path / "attributes.json", above)

    info = look(tmp_path, "s1", voxel_size_nm=(8, 4, 2), offset_nm=(0, 0, 0))
    assert (info.shape, info.stored_axes) == ((5, 6, 7), ("x", "y", "z"))
    with pytest.raises(DataError, match="; set `voxel_size_nm`"):
        look(tmp_path, "s1")


def test_odd_precomputed(tmp_path: Path) -> None:
    """And for precomputed volumes."""
    write_precomputed(tmp_path, VOXELS)
    info = json.loads((tmp_path / "info").read_text())
    del info["scales"][0]["resolution"]
    write_json(tmp_path / "info", info)

    with pytest.raises(DataError, match=r"not understood: .*; set `voxel_size_nm` and `offset_nm`"):
        look(tmp_path)
    assert look(tmp_path, voxel_size_nm=(8, 4, 2), offset_nm=(0, 0, 0)).shape == (5, 6, 7)


def test_axes_of_the_config(tmp_path: Path) -> None:
    """They go before those of the files, in the order in which the files list the shape."""
    write_zarr2(tmp_path / "zarr", VOXELS, axis_names=["a", "b", "c"], voxel_size=[8, 4, 2])
    write_n5(tmp_path / "n5", VOXELS, resolution=[2, 4, 8])

    with pytest.raises(DataError, match=r"axes \[a, b, c\]; expected z, y, x .*; set `axes`"):
        look(tmp_path / "zarr")
    info = look(tmp_path / "zarr", axes=("x", "y", "z"), voxel_size_nm=(1, 2, 3))
    assert (info.shape, info.voxel_size_nm) == ((7, 6, 5), (1, 2, 3))
    assert look(tmp_path / "n5", axes=("Z", "Y", "X")).shape == (7, 6, 5)
    with pytest.raises(DataError, match=r"`axes` is \[y, x\]; expected one name for each axis"):
        look(tmp_path / "zarr", axes=("y", "x"))


def write_pyramid(group: Path, *, shift: float, kind: str, begin: float = 24.0) -> None:
    """Two levels, of 8 and 16 nm, whose first voxels are at `begin` and `shift` nm further on."""
    levels = [(begin, 8.0), (begin + shift, 16.0)]
    for number, (begin, size) in enumerate(levels):
        transform = {
            "axes": ["z", "y", "x"],
            "scale": [size] * 3,
            "translate": [begin] * 3,
            "units": ["nm"] * 3,
        }
        if kind == "N5":
            write_n5(group / f"s{number}", VOXELS, transform=transform)
        else:
            write_zarr2(group / f"s{number}", VOXELS)
    entries = [
        {
            "path": f"s{number}",
            "coordinateTransformations": [
                {"type": "scale", "scale": [size] * 3},
                {"type": "translation", "translation": [begin] * 3},
            ],
        }
        for number, (begin, size) in enumerate(levels)
    ]
    if kind != "N5":
        write_json(group / ".zgroup", {"zarr_format": 2})
        write_json(group / ".zattrs", {"multiscales": [{"axes": SPACE, "datasets": entries}]})


@pytest.mark.parametrize("kind", ["OME-Zarr", "N5"])
@pytest.mark.parametrize(
    ("shift", "offset_is", "offsets"),
    [
        (4.0, None, (24.0, 24.0)),  # the files give centers: both levels begin together
        (0.0, None, (24.0, 24.0)),  # they give corners
        (4.0, "corner", (24.0, 28.0)),
        (4.0, "center", (20.0, 20.0)),
        (8.0, None, (24.0, 32.0)),  # a level that was cropped
    ],
)
def test_levels_of_a_pyramid_begin_together(
    tmp_path: Path, kind: str, shift: float, offset_is: Any, offsets: tuple[float, float]
) -> None:
    """Half a voxel between them shows that their offsets are centers, as OME-Zarr has it."""
    write_pyramid(tmp_path, shift=shift, kind=kind)

    found = [look(tmp_path, level, offset_is=offset_is).offset_nm for level in ("s0", "s1")]
    assert found == [(offset,) * 3 for offset in offsets]


def test_a_level_whose_center_is_0_begins_with_the_others(tmp_path: Path) -> None:
    """0 is a center like any other."""
    write_pyramid(tmp_path, shift=4.0, kind="OME-Zarr", begin=-4.0)

    assert [look(tmp_path, level).offset_nm for level in ("s0", "s1")] == [(-4.0,) * 3] * 2


def test_an_offset_of_the_config_may_be_a_center(tmp_path: Path) -> None:
    """Then half a voxel is taken off."""
    write_zarr2(tmp_path, VOXELS, voxel_size=[8, 4, 2])

    found = look(tmp_path, offset_nm=(4, 2, 1), offset_is="center")
    assert found.offset_nm == (0, 0, 0)


def test_a_level_of_an_image_is_chosen(tmp_path: Path) -> None:
    """By its number or by the voxel size; without either, the message lists them."""
    write_pyramid(tmp_path / "raw", shift=0.0, kind="OME-Zarr")

    assert look(tmp_path, "raw", scale=1).path == tmp_path / "raw/s1"
    assert look(tmp_path / "raw", scale=0).path == tmp_path / "raw/s0"
    assert look(tmp_path, "raw", voxel_size_nm=(16, 16, 16.0000001)).path == tmp_path / "raw/s1"
    for given, found in (
        ({}, "`scale` is not given"),
        ({"scale": 2}, "`scale` is 2"),
        ({"voxel_size_nm": (4, 4, 4)}, r"no level has the voxels of `voxel_size_nm`, \[4, 4, 4\]"),
    ):
        with pytest.raises(
            DataError, match=rf"{found}.*; set `scale` to 0 \(s0: 8x8x8 nm\), 1 \(s1: 16x16x16 nm"
        ):
            look(tmp_path, "raw", **given)
    with pytest.raises(DataError, match="`scale` is 0, and this is a single array"):
        look(tmp_path, "raw/s0", scale=0)


def test_a_level_of_an_n5_pyramid_is_chosen(tmp_path: Path) -> None:
    """N5 lists factors, and its levels have names by convention."""
    for level in ("s0", "s1"):
        write_n5(tmp_path / level, VOXELS)
    write_json(
        tmp_path / "attributes.json",
        {"resolution": [4, 4, 40], "downsamplingFactors": [[1, 1, 1], [2, 2, 1]]},
    )

    assert look(tmp_path, scale=1).voxel_size_nm == (40, 8, 8)
    assert look(tmp_path, voxel_size_nm=(40, 4, 4)).path == tmp_path / "s0"


def test_a_scale_of_a_precomputed_volume_is_chosen(tmp_path: Path) -> None:
    """By its number, as of other images."""
    write_precomputed(tmp_path, VOXELS)
    write_precomputed(tmp_path, VOXELS[:, ::2, ::2], resolution_xyz=(8, 8, 40), key="8_8_40")

    assert look(tmp_path, scale=1) == look(tmp_path, "8_8_40")
    with pytest.raises(DataError, match="`array` and `scale` both choose a scale"):
        look(tmp_path, "s0", scale=1)


def test_a_voxel_size_chooses_the_scale_of_a_precomputed_volume(tmp_path: Path) -> None:
    """One that no scale has is an error, unless there is a single one, which it overrides."""
    write_precomputed(tmp_path, VOXELS)
    assert look(tmp_path, voxel_size_nm=(16, 16, 16)).voxel_size_nm == (16, 16, 16)
    write_precomputed(tmp_path, VOXELS[:, ::2, ::2], resolution_xyz=(8, 8, 40), key="8_8_40")

    assert look(tmp_path, voxel_size_nm=(40, 8, 8)) == look(tmp_path, "8_8_40")
    assert look(tmp_path, voxel_size_nm=(40, 4, 4)) == look(tmp_path, "s0")
    assert look(tmp_path).scale_index == 0
    with pytest.raises(
        DataError, match=r"no level has the voxels.*0 \(s0: 40x4x4 nm\), 1 \(8_8_40: 40x8x8 nm"
    ):
        look(tmp_path, voxel_size_nm=(16, 16, 16))
    assert look(tmp_path, scale=1, voxel_size_nm=(16, 16, 16)).scale_index == 1


def test_a_group_without_an_image_lists_its_arrays(tmp_path: Path) -> None:
    """It suggests no level by the likeness of names."""
    write_zarr2(tmp_path / "raw/s0", VOXELS)
    write_zarr2(tmp_path / "raw/s1", VOXELS)

    with pytest.raises(DataError, match="'raw', a group; name one of its arrays: raw/s0, raw/s1"):
        look(tmp_path, "raw")


@pytest.mark.parametrize(
    ("name", "head", "says"),
    [
        (
            "raw.h5",
            b"\x89HDF\r\n\x1a\n",
            r"format HDF5.*h5py\.File\('.*raw\.h5'\)\['volumes/raw'\]",
        ),
        ("raw.zarr.zip", b"PK\x03\x04", r"format zip.*unzip .*raw\.zarr\.zip -d raw\.zarr"),
        ("raw.tif", b"II*\0", r"format TIFF.*tifffile\.imread"),
        ("raw.npy", b"\x93NUMPY", r"format NumPy.*numpy\.load"),
        ("raw.mrc", b"....", r"raw\.mrc: is a file; expected the folder of a zarr"),
    ],
)
def test_a_file_is_called_a_file(tmp_path: Path, name: str, head: bytes, says: str) -> None:
    """With the command that makes a volume of it, where the format is known."""
    (tmp_path / name).write_bytes(head + bytes(64))

    with pytest.raises(DataError, match=says) as caught:
        look(tmp_path / name, "volumes/raw")
    assert not isinstance(caught.value, DataUnavailableError)


def test_compressed_chunk_files_are_told(tmp_path: Path) -> None:
    """CloudVolume's on a disk: no reader but its own finds them."""
    write_precomputed(tmp_path, VOXELS)
    for chunk in (tmp_path / "s0").iterdir():
        chunk.rename(f"{chunk}.gz")

    with pytest.raises(DataError, match=r"compressed files.*: gunzip --recursive .*/s0$"):
        look(tmp_path)


def test_label_multisets_are_told(tmp_path: Path) -> None:
    """Paintera's: bytes that are no voxels."""
    write_n5(tmp_path, VOXELS, isLabelMultiset=True)

    with pytest.raises(DataError, match="label multisets of Paintera; must hold a number"):
        look(tmp_path)


def test_a_variable_that_is_not_set_is_told(tmp_path: Path) -> None:
    """It stands in the path as it was written."""
    with pytest.raises(DataUnavailableError, match=r"no such directory; \$NOWHERE is not set"):
        look(tmp_path / "$NOWHERE/raw")


def test_a_level_on_a_server_is_chosen(tmp_path: Path) -> None:
    """Nothing has to be listed for that."""
    write_pyramid(tmp_path / "raw", shift=4.0, kind="OME-Zarr")
    with serving(tmp_path) as server:
        info = read_array_info(ArrayConfig(path=f"{server.url}/raw", voxel_size_nm=(16, 16, 16)))

        assert str(info.path) == f"{server.url}/raw/s1"
        assert info.offset_nm == (24, 24, 24)
        with pytest.raises(DataError, match=r"`scale` is 5; set `scale` to 0 \(s0: 8x8x8 nm\), 1"):
            read_array_info(ArrayConfig(path=server.url, array="raw", scale=5))

"""Whether arrays are understood as they were when a run was trained on them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.trainers.datasets.volumes import counting, write_precomputed, write_zarr2
from trainers.datasets.array_info import ArrayInfo, read_array_info
from trainers.datasets.dataset_config import ArrayConfig, DatasetConfig
from trainers.datasets.understood_grid import earlier_infos, is_read_alike, understood_grids

VOXELS = counting((5, 6, 7))
SIZE: dict[str, Any] = {"voxel_size_nm": (8.0, 4.0, 2.0)}
TRANSFORM = {
    "axes": ["z", "y", "x"],
    "scale": [8, 4, 2],
    "translate": [80, 40, 20],
    "units": ["nm"] * 3,
}
CHANGED: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "xarray's names": ({"_ARRAY_DIMENSIONS": ["x", "y", "z"]}, {}, {"axes": ("z", "y", "x")}),
    "names partly known": ({"_ARRAY_DIMENSIONS": ["z", "row", "col"]}, {}, {"axes": tuple("zyx")}),
    "COSEM's transform": ({"transform": TRANSFORM}, {}, {"offset_nm": (0.0, 0.0, 0.0)}),
}


@pytest.mark.parametrize(("attributes", "given", "words"), CHANGED.values(), ids=CHANGED)
def test_an_earlier_reading_is_had_back_with_words(
    tmp_path: Path, attributes: Any, given: Any, words: Any
) -> None:
    """What the first versions did not read is told from what they did; the config restores it."""
    write_zarr2(tmp_path, VOXELS, **attributes)
    before = ArrayConfig(path=tmp_path, **SIZE, **given)

    earlier = earlier_infos(DatasetConfig(name="a", raw=before), 3)["raw"]
    assert (earlier.stored_axes, earlier.offset_nm) == (("z", "y", "x"), (0, 0, 0))
    assert is_read_alike(before, ArrayConfig(path=tmp_path, **SIZE, **given, **words))
    assert not is_read_alike(before, ArrayConfig(path=tmp_path, **SIZE, offset_nm=(8, 8, 8)))


def test_the_first_scale_was_read_whatever_the_voxel_size(tmp_path: Path) -> None:
    """Of a precomputed volume, which `scale` has back."""
    write_precomputed(tmp_path, VOXELS)
    write_precomputed(tmp_path, VOXELS[:, ::2, ::2], resolution_xyz=(8, 8, 40), key="8_8_40")
    before = ArrayConfig(path=tmp_path, voxel_size_nm=(40, 8, 8))

    earlier = earlier_infos(DatasetConfig(name="a", raw=before), 3)["raw"]
    assert (earlier.scale_index, earlier.voxel_size_nm) == (0, (40, 8, 8))
    assert is_read_alike(before, ArrayConfig(path=tmp_path, voxel_size_nm=(40, 8, 8), scale=0))


def test_names_of_which_none_is_known_count_as_none(tmp_path: Path) -> None:
    """Of xarray's and COSEM's, as they did before these were read."""
    names = ["plane", "row", "col"]
    write_zarr2(tmp_path / "a", VOXELS, _ARRAY_DIMENSIONS=names)
    write_zarr2(tmp_path / "b", VOXELS, transform={**TRANSFORM, "axes": names})

    for name in ("a", "b"):
        array = ArrayConfig(path=tmp_path / name, **SIZE, offset_nm=(0, 0, 0))
        assert read_array_info(array).stored_axes == ("z", "y", "x")


def test_what_is_compared(tmp_path: Path) -> None:
    """Axes, shape, voxel size and offset; offsets in relation to raw, unless points need more."""

    def look(**attributes: Any) -> dict[str, ArrayInfo]:
        for name, offset in (("raw", [8, 0, 0]), ("gt", [16, 0, 0])):
            given = {"voxel_size": [8, 4, 2], "offset": offset, **attributes.get(name, {})}
            if not (tmp_path / name).exists():
                write_zarr2(tmp_path / name, VOXELS)
            (tmp_path / name / ".zattrs").write_text(json.dumps(given))
        return {name: read_array_info(ArrayConfig(path=tmp_path / name)) for name in ("raw", "gt")}

    before = understood_grids(look(), is_absolute=False)
    assert before["gt"] == "axes z y x; 5 x 6 x 7 voxels; of 8 x 4 x 2 nm; from 8, 0, 0 nm"
    moved = look(raw={"offset": [0, 0, 0]}, gt={"offset": [8, 0, 0]})
    assert understood_grids(moved, is_absolute=False) == before
    absolute = understood_grids(look(), is_absolute=True)
    assert understood_grids(moved, is_absolute=True) != absolute
    for change in ({"offset": [8, 0, 0]}, {"voxel_size": [8, 4, 4]}, {"axis_names": list("xyz")}):
        assert understood_grids(look(gt=change), is_absolute=False)["gt"] != before["gt"]

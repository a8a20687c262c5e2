"""Which volume it was: see test_reading_faults.py for changes while it is read."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.trainers.datasets.volumes import (
    counting,
    write_n5,
    write_precomputed,
    write_zarr2,
    write_zarr3,
)
from trainers.datasets import change_detection
from trainers.datasets.array_info import read_array_info
from trainers.datasets.change_detection import ReplacementWatch, volume_identity
from trainers.datasets.dataset_config import ArrayConfig
from trainers.datasets.read_options import Reading
from trainers.errors import DataError


def test_a_volume_has_an_identity(tmp_path: Path) -> None:
    """It changes with the metadata and with the chunk that it names, and stays otherwise."""
    path = tmp_path / "raw"
    write_zarr2(path, counting((8, 8, 8)), resolution=[8, 8, 8], offset=[0, 0, 0])
    info = read_array_info(ArrayConfig(path=path))

    known = volume_identity(info)

    chunk = path / known.rpartition(" ")[2]
    assert chunk.is_file()
    assert volume_identity(info, known) == known
    content = bytearray(chunk.read_bytes())
    content[-1] ^= 1
    chunk.write_bytes(content)
    assert volume_identity(info, known) not in ("", known)
    chunk.unlink()
    assert volume_identity(info, known) == ""


def test_identities_of_earlier_commits_are_compared_as_they_were_made(tmp_path: Path) -> None:
    """They hold all of the metadata file."""
    write_zarr2(tmp_path, counting((8, 8, 8)), resolution=[8, 8, 8])
    info = read_array_info(ArrayConfig(path=tmp_path))
    now = volume_identity(info).removeprefix("metadata ")
    earlier = volume_identity(info, f"0123456789abcdef {now.partition(' ')[2]}")

    assert not earlier.startswith("metadata ")
    assert volume_identity(info, earlier) == earlier
    (tmp_path / ".zarray").write_text(json.dumps({**read(tmp_path / ".zarray"), "name": "raw"}))
    assert volume_identity(info, earlier) != earlier
    assert volume_identity(info, f"metadata {now}") == f"metadata {now}"


METADATA: dict[Any, tuple[str, dict[str, Any], dict[str, Any]]] = {
    write_zarr2: (".zarray", {"name": "raw"}, {"fill_value": 1}),
    write_zarr3: ("zarr.json", {"attributes": {"window": [0, 255]}}, {"fill_value": 1}),
    write_n5: ("attributes.json", {"max": 255}, {"blockSize": [2, 2, 2]}),
    write_precomputed: ("info", {"mesh": "mesh"}, {"data_type": "uint16"}),
}


def read(path: Path) -> Any:
    return json.loads(path.read_text())


@pytest.mark.parametrize("write", METADATA)
def test_only_what_decides_about_voxels_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Any
) -> None:
    """A viewer or a colleague may add attributes while runs read the volume."""
    monkeypatch.setattr(change_detection, "CHECK_INTERVAL_S", 0.0)
    name, harmless, decisive = METADATA[write]
    write(tmp_path, counting((8, 8, 8)))
    given: Any = {"voxel_size_nm": (8, 8, 8), "offset_nm": (0, 0, 0)}
    info = read_array_info(ArrayConfig(path=tmp_path, **given))
    watch, known = ReplacementWatch(info, Reading()), volume_identity(info)
    watch.check()

    path = tmp_path / name
    path.write_text(json.dumps({**read(path), **harmless}, indent=3))
    watch.check()
    assert volume_identity(info, known) == known
    whole = path.read_text()
    path.write_text(whole[:-20])  # it is just being written
    watch.check()

    path.write_text(json.dumps({**json.loads(whole), **decisive}))
    with pytest.raises(DataError, match="the volume was replaced or written to"):
        watch.check()
    assert volume_identity(info, known) != known


def test_another_scale_of_a_precomputed_volume_does_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the one that is read."""
    monkeypatch.setattr(change_detection, "CHECK_INTERVAL_S", 0.0)
    write_precomputed(tmp_path, counting((8, 8, 8)))
    info = read_array_info(ArrayConfig(path=tmp_path))
    watch = ReplacementWatch(info, Reading())
    watch.check()
    write_precomputed(tmp_path, counting((4, 4, 4)), resolution_xyz=(8, 8, 40), key="s1")

    watch.check()

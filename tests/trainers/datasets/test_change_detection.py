"""Which volume it was: see test_reading_faults.py for changes while it is read."""

from pathlib import Path

from tests.trainers.datasets.volumes import counting, write_zarr2
from trainers.datasets.array_info import read_array_info
from trainers.datasets.change_detection import volume_identity
from trainers.datasets.dataset_config import ArrayConfig


def test_a_volume_has_an_identity(tmp_path: Path) -> None:
    """It changes with the metadata and with the chunk that it names, and stays otherwise."""
    path = tmp_path / "raw"
    write_zarr2(path, counting((8, 8, 8)), resolution=[8, 8, 8], offset=[0, 0, 0])
    info = read_array_info(ArrayConfig(path=path))

    known = volume_identity(info)

    chunk = path / known.partition(" ")[2]
    assert chunk.is_file()
    assert volume_identity(info, known) == known
    content = bytearray(chunk.read_bytes())
    content[-1] ^= 1
    chunk.write_bytes(content)
    assert volume_identity(info, known) not in ("", known)
    chunk.unlink()
    assert volume_identity(info, known) == ""

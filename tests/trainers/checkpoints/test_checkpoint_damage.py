"""Nothing that has changed on disk is ever used."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from scripts.stress.fuzz_checkpoint.damages import DAMAGES, damage
from trainers.checkpoints import CheckpointReader, CheckpointStore
from trainers.checkpoints.data_file import CHUNK_BYTES
from trainers.checkpoints.manifest import with_checksum
from trainers.checkpoints.verification import verify
from trainers.errors import CheckpointError, DamagedCheckpointError

IDENTITY = "0123456789abcdef"
FILES = ("manifest.json", "rank-00000.safetensors")


@pytest.mark.parametrize("kind", DAMAGES)
@pytest.mark.parametrize("name", FILES)
def test_all_damage_is_found(folder: Path, name: str, kind: str) -> None:
    """Whatever byte differs, is missing or is too much, the checkpoint before is taken."""
    found = damage("small", name, kind, 60, folder, seed="0")

    assert (found.num_cases, found.problems) == (60, [])


@pytest.mark.parametrize("kind", DAMAGES)
def test_damage_in_any_piece_of_a_large_file_is_found(folder: Path, kind: str) -> None:
    """Also where one thread of several reads it."""
    found = damage("chunks", "rank-00000.safetensors", kind, 4, folder, seed="0")

    assert (found.num_cases, found.problems) == (4, [])


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_another_checkpoint_is_found(two_saved: Path, name: str) -> None:
    """Whole as it is, and of the right length, it is not the one that was written here."""
    older, newer = (two_saved / f"iteration-0000000{each}" / name for each in (10, 20))
    assert older.stat().st_size == newer.stat().st_size
    shutil.copy(older, newer)

    newest = CheckpointReader(two_saved, fingerprint=IDENTITY).newest()

    assert newest is not None
    assert newest.iteration == 10


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(b"\0" * 9)])
def test_a_damaged_one_is_set_aside(
    two_saved: Path,
    name: str,
    damage: Callable[[Path], Any],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The warning says which file, what is wrong and where the remains are; training goes on."""
    damage(two_saved / "iteration-000000020" / name)
    store = CheckpointStore(two_saved, fingerprint=IDENTITY)

    newest = store.newest()

    assert newest is not None
    assert newest.iteration == 10
    assert store.iterations() == [10]
    assert (two_saved / "damaged-iteration-000000020-0").is_dir()
    assert f"iteration-000000020 is damaged: {name}" in caplog.text
    assert "it is set aside as damaged-iteration-000000020-0" in caplog.text

    caplog.clear()
    store.save(20, {"weight": torch.ones(1)})
    assert CheckpointStore(two_saved, fingerprint=IDENTITY).load(20).state["weight"] == 1
    assert caplog.text == ""


def test_a_damaged_one_is_saved_again(two_saved: Path) -> None:
    """Saving an iteration whose checkpoint is damaged puts a whole one in its place, every time."""
    for _ in range(2):
        (two_saved / "iteration-000000020/rank-00000.safetensors").write_bytes(b"")
        CheckpointStore(two_saved, fingerprint=IDENTITY).save(20, {"whole": True})

    newest = CheckpointReader(two_saved, fingerprint=IDENTITY).newest()
    assert newest is not None
    assert newest.state == {"whole": True}
    assert sorted(each.name for each in two_saved.glob("damaged-*")) == [
        "damaged-iteration-000000020-0",
        "damaged-iteration-000000020-1",
    ]


def test_without_a_whole_one_there_is_no_newest(
    two_saved: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """When all are damaged there is no newest one, and each is named."""
    for name in ("iteration-000000010", "iteration-000000020"):
        (two_saved / name / "manifest.json").unlink()

    assert CheckpointStore(two_saved, fingerprint=IDENTITY).newest() is None
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]


def test_a_folder_that_vanishes_is_not_a_run_that_has_not_begun(two_saved: Path) -> None:
    """Who has opened the store is told; nothing is trained from the start instead."""
    store = CheckpointStore(two_saved, fingerprint=IDENTITY)
    two_saved.rename(two_saved.with_name("elsewhere"))

    with pytest.raises(CheckpointError, match=r"checkpoints has vanished; .* mount it again"):
        store.newest()


def test_the_report_says_where_the_damage_lies(folder: Path) -> None:
    """A large file is hashed in pieces of 16 MiB, and the piece that changed is named."""
    state = {"weight": torch.zeros(40 * 2**20, dtype=torch.uint8)}
    path = CheckpointStore(folder, fingerprint=IDENTITY).save(20, state)
    with (path / "rank-00000.safetensors").open("r+b") as file:
        file.seek(2 * CHUNK_BYTES + 5)
        file.write(b"1")

    with pytest.raises(DamagedCheckpointError, match="between its bytes 33,554,432 and 41,947,136"):
        verify(path)


def test_a_renamed_checkpoint_is_found(two_saved: Path) -> None:
    """A checkpoint under the name of another iteration is not what it says."""
    (two_saved / "iteration-000000020").rename(two_saved / "iteration-000000030")

    with pytest.raises(DamagedCheckpointError, match=r"manifest\.json is of iteration 20"):
        CheckpointReader(two_saved, fingerprint=IDENTITY).load(30)


def test_a_newer_schema_is_refused(two_saved: Path) -> None:
    """What a later version has written is neither used nor set aside."""
    path = two_saved / "iteration-000000020/manifest.json"
    path.write_bytes(with_checksum({"schema_version": 3, "anything": "else"}))

    with pytest.raises(CheckpointError) as caught:
        CheckpointStore(two_saved, fingerprint=IDENTITY).newest()

    assert str(caught.value) == (
        f"{path.parent} cannot be used: manifest.json has schema version 3; "
        "this version of trainers reads 2. Resume with the version that wrote it."
    )
    assert CheckpointReader(two_saved, fingerprint=IDENTITY).iterations() == [10, 20]

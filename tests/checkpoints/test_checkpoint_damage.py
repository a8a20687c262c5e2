"""Nothing that has changed on disk is ever used."""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from trainers.checkpoints import CheckpointReader, CheckpointStore
from trainers.checkpoints.errors import DamagedCheckpointError
from trainers.checkpoints.file_record import FileRecord
from trainers.checkpoints.manifest import sealed
from trainers.errors import CheckpointError

IDENTITY = "0123456789abcdef"
FILES = ("manifest.json", "rank-00000.safetensors")


def positions(num_bytes: int, count: int) -> list[int]:
    """The first, the last, and some bytes between."""
    between = random.Random(num_bytes).sample(range(1, num_bytes - 1), count)
    return [0, *between, num_bytes - 1]


@pytest.mark.parametrize("name", FILES)
def test_every_flipped_bit_is_found(two_saved: Path, name: str) -> None:
    """Wherever one bit differs, the checkpoint before is taken."""
    path = two_saved / "iteration-000000020" / name
    whole = path.read_bytes()
    reader = CheckpointReader(two_saved, identity=IDENTITY)

    for position in positions(len(whole), 60):
        changed = bytearray(whole)
        changed[position] ^= 1 << position % 8
        path.write_bytes(changed)
        newest = reader.newest()
        assert newest is not None
        assert (newest.iteration, position) == (10, position)


@pytest.mark.parametrize("name", FILES)
def test_every_truncation_is_found(two_saved: Path, name: str) -> None:
    """Wherever a file ends early, the checkpoint before is taken."""
    path = two_saved / "iteration-000000020" / name
    whole = path.read_bytes()
    reader = CheckpointReader(two_saved, identity=IDENTITY)

    for length in positions(len(whole), 30):
        path.write_bytes(whole[:length])
        newest = reader.newest()
        assert newest is not None
        assert (newest.iteration, length) == (10, length)


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
    store = CheckpointStore(two_saved, identity=IDENTITY)

    newest = store.newest()

    assert newest is not None
    assert newest.iteration == 10
    assert store.iterations() == [10]
    assert (two_saved / "damaged-iteration-000000020-0").is_dir()
    assert f"iteration-000000020 is damaged: {name}" in caplog.text
    assert "it is set aside as damaged-iteration-000000020-0" in caplog.text

    caplog.clear()
    store.save(20, {"weight": torch.ones(1)})
    assert CheckpointStore(two_saved, identity=IDENTITY).load(20).state["weight"] == 1
    assert caplog.text == ""


def test_a_damaged_one_is_saved_again(two_saved: Path) -> None:
    """Saving an iteration whose checkpoint is damaged puts a whole one in its place, every time."""
    for _ in range(2):
        (two_saved / "iteration-000000020/rank-00000.safetensors").write_bytes(b"")
        CheckpointStore(two_saved, identity=IDENTITY).save(20, {"whole": True})

    newest = CheckpointReader(two_saved, identity=IDENTITY).newest()
    assert newest is not None
    assert newest.state == {"whole": True}
    assert sorted(each.name for each in two_saved.glob("damaged-*")) == [
        "damaged-iteration-000000020-0",
        "damaged-iteration-000000020-1",
    ]


def test_without_a_whole_one_the_run_begins_anew(
    two_saved: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """When all are damaged there is no newest one, and each is named."""
    for name in ("iteration-000000010", "iteration-000000020"):
        (two_saved / name / "manifest.json").unlink()

    assert CheckpointStore(two_saved, identity=IDENTITY).newest() is None
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]


def test_the_report_says_where_the_damage_lies() -> None:
    """A large file is hashed in pieces of 16 MiB, and the piece that changed is named."""
    content = bytearray(40 * 2**20)
    record = FileRecord.of("rank-00000.safetensors", memoryview(content))
    content[35 * 2**20] ^= 1

    assert len(record.xxh3_128_per_16_mib) == 3
    with pytest.raises(DamagedCheckpointError, match="between its bytes 33,554,432 and 41,943,040"):
        record.check(bytes(content))


def test_a_renamed_checkpoint_is_found(two_saved: Path) -> None:
    """A checkpoint under the name of another iteration is not what it says."""
    (two_saved / "iteration-000000020").rename(two_saved / "iteration-000000030")

    with pytest.raises(DamagedCheckpointError, match=r"manifest\.json is of iteration 20"):
        CheckpointReader(two_saved, identity=IDENTITY).load(30)


def test_a_newer_schema_is_refused(two_saved: Path) -> None:
    """What a later version has written is neither used nor set aside."""
    path = two_saved / "iteration-000000020/manifest.json"
    path.write_bytes(sealed({"schema_version": 2, "anything": "else"}))

    with pytest.raises(CheckpointError) as caught:
        CheckpointStore(two_saved, identity=IDENTITY).newest()

    assert str(caught.value) == (
        f"{path.parent} cannot be used: manifest.json has schema version 2; "
        "this version of trainers reads 1. Go on with the version that wrote it."
    )
    assert CheckpointReader(two_saved, identity=IDENTITY).iterations() == [10, 20]


def test_a_disk_that_cannot_read_is_told_from_one_that_may_not(
    two_saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unreadable sector is damage; a missing permission is not, and nothing is set aside."""
    reader = CheckpointReader(two_saved, identity=IDENTITY)
    number = errno.EIO

    def fail(path: Path) -> bytes:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "read_bytes", fail)
    with pytest.raises(DamagedCheckpointError, match=r"manifest\.json: Input/output error"):
        reader.load(20)
    number = errno.EACCES
    with pytest.raises(CheckpointError, match=r"cannot be used: manifest\.json: Permission denied"):
        reader.newest()

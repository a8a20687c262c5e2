"""A disk without room, or one that cannot be written any more."""

from __future__ import annotations

import os
import resource
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from trainers.checkpoints import CheckpointStore
from trainers.checkpoints.retention import Retention
from trainers.errors import CheckpointError

IDENTITY = "0123456789abcdef"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB."""
    path = tmp_path / "disk"
    path.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(path)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode != 0:
        pytest.skip("needs the right to mount a file system")
    yield path
    subprocess.run(["umount", str(path)], check=True)


@pytest.fixture
def small_files() -> Iterator[None]:
    """No file may grow beyond 100 KB."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def names(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.iterdir())


def test_a_full_disk_costs_only_the_new_checkpoint(small_disk: Path) -> None:
    """The error has the figures, earlier checkpoints stand, and the next save may succeed."""
    store = CheckpointStore(small_disk, fingerprint=IDENTITY, retention=Retention(keep_last=3))
    for iteration in (10, 20):
        store.save(iteration, {"weight": torch.full((100_000,), float(iteration))})

    with pytest.raises(CheckpointError) as caught:
        store.save(30, {"weight": torch.full((100_000,), 30.0)})

    assert str(caught.value).startswith(
        f"cannot write {small_disk}/iteration-000000030: No space left on device. It needs 404,"
    )
    assert " were free. Earlier checkpoints are untouched: make room, " in str(caught.value)
    assert names(small_disk) == ["iteration-000000010", "iteration-000000020"]
    newest = store.newest()
    assert newest is not None
    assert newest.state["weight"].equal(torch.full((100_000,), 20.0))
    store.save(40, {"small": 1})
    assert store.iterations() == [10, 20, 40]


def test_a_read_only_file_system_costs_only_the_new_checkpoint(small_disk: Path) -> None:
    """What a kernel makes of a failing disk; once it is writable again, saving goes on."""
    store = CheckpointStore(small_disk, fingerprint=IDENTITY)
    store.save(10, {"small": 1})
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)

    with pytest.raises(CheckpointError, match=r"Read-only file system.*mount it for writing"):
        store.save(20, {"small": 2})

    assert names(small_disk) == ["iteration-000000010"]
    assert store.newest() is not None
    subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
    store.save(20, {"small": 2})
    assert store.iterations() == [10, 20]


@pytest.mark.usefixtures("small_files")
def test_a_limit_on_the_size_of_files_is_told(two_saved: Path) -> None:
    """Any refusal of the file system leaves what was there, and no remains."""
    store = CheckpointStore(two_saved, fingerprint=IDENTITY)

    with pytest.raises(CheckpointError, match=r"File too large\. It needs 1,004"):
        store.save(30, {"weight": torch.zeros(250_000)})

    assert names(two_saved) == ["iteration-000000010", "iteration-000000020"]

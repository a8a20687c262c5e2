"""Nothing in a manifest can lead anywhere, whoever wrote it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.trainers.checkpoints.forging import forge_manifest, record
from trainers.checkpoints import CheckpointReader, CheckpointStore
from trainers.checkpoints.manifest import MAX_BYTES
from trainers.errors import CheckpointError, DamagedCheckpointError

IDENTITY = "0123456789abcdef"


@pytest.fixture
def path(two_saved: Path) -> Path:
    """The newest checkpoint of a run."""
    return two_saved / "iteration-000000020"


def load(path: Path) -> Any:
    return CheckpointReader(path.parent, fingerprint=IDENTITY).load(20).state


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"files": [record(b"1234", name="../../secret")]}, "'name' must match regex"),
        ({"files": [record(b"1234", name="/etc/passwd")]}, "'name' must match regex"),
        ({"files": [record(b"1234", name="rank-00000.safetensors/../x")]}, "'name' must match"),
        ({"files": [record(b"1234", name="rank-00000.safetensors\n")]}, "'name' must match"),
        ({"files": [record(b"1234", name="rank-00000.pt")]}, "'name' must match regex"),
        ({"files": [record(b"1234", name=5)]}, "expected string"),
        ({"files": [record(b"1234", num_bytes=10**18)]}, "has 59604644776 chunks"),
        ({"files": [record(b"1234", num_bytes=2**24)]}, "16,777,216 were written"),
        ({"files": [record(b"1234", num_bytes=-1)]}, "'num_bytes' must be >= 0"),
        ({"files": [record(b"1234", num_bytes="4")]}, "'num_bytes' must be <class 'int'>"),
        ({"files": [record(b"1234", xxh3_128_per_16_mib=[])]}, "the manifest holds 0 hashes"),
        ({"files": [record(b"1234", xxh3_128_per_16_mib=[5])]}, "must be <class 'str'>"),
        ({"files": [record(b"1234", extra=1)]}, "unexpected keyword argument 'extra'"),
        ({"files": [record(b"1234"), record(b"1234")]}, "a file is named twice"),
        ({"files": [{}]}, "xxh3_128_per_16_mib"),
        ({"files": 5}, "not iterable"),
        ({"files": []}, "the tensor 'weight' is missing"),
        ({"iteration": 10**30}, "is of iteration"),
        ({"iteration": 10**4000}, "is of iteration"),
        ({"iteration": "20"}, "'iteration' must be <class 'int'>"),
        ({"environment": {"torch": []}}, "must be <class 'str'>"),
        ({"metrics": {"loss": "low"}}, "must be <class 'float'>"),
        ({"what_counts": []}, "must be <class 'dict'>"),
        ({"identity": None}, "'identity' must be <class 'str'>"),
        ({"surprise": 1}, "unexpected keyword argument 'surprise'"),
        ({"state": {"tensor": "other"}}, "the tensor 'other' is missing"),
        ({"state": [{"tensor": "weight"}] * 2}, "'weight' is missing, or used twice"),
        ({"state": None}, "the tensor 'weight' belongs to no part of the state"),
        ({"state": {"tensor": ["weight"]}}, "does not describe any part of a state"),
        ({"state": {"tensor": "weight", "or": 1}}, "does not describe any part of a state"),
        ({"state": {"dict": [[["a"], 1]]}}, "is not an entry of a dict"),
        ({"state": {"dict": [[True, 1]]}}, "is not an entry of a dict"),
        ({"state": {"float": "1e999"}}, "does not describe any part of a state"),
        ({"state": {"__reduce__": "os.system"}}, "does not describe any part of a state"),
    ],
)
def test_a_forged_manifest_is_refused(path: Path, changes: dict[str, Any], message: str) -> None:
    """A manifest with a right hash and wrong contents leads nowhere."""
    forge_manifest(path, **changes)

    with pytest.raises(DamagedCheckpointError) as caught:
        load(path)

    assert message in str(caught.value)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    "content",
    [
        b"[" * 100_000,
        b'{"dict":' * 100_000,
        b"9" * 10_000,
        b"NaN",
        b"null",
        b"[]",
        b"",
        b"\xff\xfe{\0}\0",
        b'{"iteration": 1, "iteration": 2}',
    ],
    ids=lambda content: repr(content[:12]),
)
def test_a_manifest_that_is_none_is_refused(path: Path, content: bytes) -> None:
    """Neither depth nor digits nor another encoding does more than make it damaged."""
    (path / "manifest.json").write_bytes(content)

    with pytest.raises(DamagedCheckpointError, match=r"manifest\.json"):
        load(path)


def test_a_state_too_deep_to_put_together_is_refused(path: Path) -> None:
    """However deep it is: at every depth it is either restored or damaged."""
    outcomes = set()
    for depth in range(50, 500, 50):
        state: Any = {"tensor": "weight"}
        for _ in range(depth):
            state = [state]
        forge_manifest(path, state=state)
        try:
            load(path)
            outcomes.add("restored")
        except DamagedCheckpointError:
            outcomes.add("damaged")

    assert "restored" in outcomes


def test_a_manifest_too_long_is_refused_unread(path: Path) -> None:
    """A file of terabytes that takes no room on disk costs no memory either."""
    os.truncate(path / "manifest.json", 2**40)

    with pytest.raises(DamagedCheckpointError, match=r"1,099,511,627,776 bytes; allowed: 67,108,"):
        load(path)


def test_what_would_be_refused_is_not_written(two_saved: Path) -> None:
    """A state with more in it beside its tensors than is ever read cannot be saved."""
    store = CheckpointStore(two_saved, fingerprint=IDENTITY)

    with pytest.raises(CheckpointError, match="Keep numbers and texts of the state in tensors"):
        store.save(30, {"text": "x" * MAX_BYTES, "weight": torch.ones(1)})

    assert sorted(each.name for each in two_saved.iterdir()) == [
        "iteration-000000010",
        "iteration-000000020",
    ]


@pytest.mark.parametrize("name", ["manifest.json", "rank-00000.safetensors"])
def test_only_regular_files_are_opened(path: Path, name: str) -> None:
    """Links to elsewhere, devices, sockets, and a pipe that would block, are refused."""
    file = path / name
    elsewhere = path.parent / "elsewhere"
    file.rename(elsewhere)

    for make in (
        lambda: file.symlink_to("/dev/zero"),
        lambda: file.symlink_to(elsewhere),
        lambda: file.symlink_to(file),
        lambda: os.mkfifo(file),
        lambda: file.mkdir(),
    ):
        make()
        with pytest.raises(DamagedCheckpointError, match=f"{name} is not a regular file"):
            load(path)
        file.rmdir() if file.is_dir() else file.unlink()


def test_a_link_to_a_checkpoint_is_none(path: Path) -> None:
    """Neither in the place of its folder nor instead of an older one."""
    elsewhere = path.parent / "elsewhere"
    path.rename(elsewhere)
    path.symlink_to(elsewhere)

    newest = CheckpointReader(path.parent, fingerprint=IDENTITY).newest()

    assert newest is not None
    assert newest.iteration == 10
    with pytest.raises(CheckpointError, match="has no checkpoint of iteration 20"):
        load(path)

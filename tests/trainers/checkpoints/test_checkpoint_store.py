"""Saving and restoring."""

from __future__ import annotations

import errno
import json
import math
import os
import shutil
from pathlib import Path

import attrs
import pytest
import torch

from trainers.checkpoints import CheckpointReader, CheckpointStore, KeepBest, Retention
from trainers.checkpoints.staging import Staging
from trainers.checkpoints.verification import inspect, verify
from trainers.errors import CheckpointError, LeaseUnreadableError, StorageUnavailableError

IDENTITY = "0123456789abcdef"


def names(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.iterdir())


def test_a_new_run_has_no_checkpoint(folder: Path) -> None:
    """An empty and a missing folder are both a run that has not begun."""
    assert CheckpointReader(folder, fingerprint=IDENTITY).newest() is None
    assert not folder.exists()
    assert CheckpointStore(folder, fingerprint=IDENTITY).newest() is None
    assert CheckpointStore(folder, fingerprint=IDENTITY).iterations() == []


def test_the_newest_is_restored(two_saved: Path) -> None:
    """What was saved last comes back, and an older one on request."""
    store = CheckpointStore(two_saved, fingerprint=IDENTITY)

    newest = store.newest()

    assert newest is not None
    assert newest.iteration == 20
    assert newest.state["weight"].equal(torch.full((7, 5), 20.0))
    assert newest.state["rate"] == 0.1
    assert store.load(10).state["weight"].equal(torch.full((7, 5), 10.0))
    assert store.iterations() == [10, 20]


def test_a_missing_one_is_refused_with_those_that_exist(two_saved: Path) -> None:
    """Asking for an iteration without a checkpoint lists the ones to ask for."""
    with pytest.raises(CheckpointError) as caught:
        CheckpointReader(two_saved, fingerprint=IDENTITY).load(15)

    assert str(caught.value) == (
        f"{two_saved} has no checkpoint of iteration 15; available: 10, 20"
    )


def test_the_layout_on_disk(two_saved: Path) -> None:
    """A checkpoint is a folder with one safetensors file and a manifest, and nothing else."""
    assert names(two_saved) == ["iteration-000000010", "iteration-000000020"]
    assert names(two_saved / "iteration-000000010") == ["manifest.json", "rank-00000.safetensors"]
    manifest = json.loads((two_saved / "iteration-000000010/manifest.json").read_bytes())
    assert manifest["schema_version"] == 2
    assert manifest["iteration"] == 10
    assert manifest["identity"] == "0123456789abcdef"
    assert (manifest["what_counts"], manifest["environment"], manifest["metrics"]) == (
        {},
        {"finite": "true"},
        {},
    )
    assert manifest["files"][0]["name"] == "rank-00000.safetensors"
    assert manifest["files"][0]["num_bytes"] == 4236
    assert manifest["state"] == {"dict": [["weight", {"tensor": "weight"}], ["rate", 0.1]]}


def test_equal_states_give_equal_files(two_saved: Path, tmp_path: Path) -> None:
    """The files of two runs are the same, byte for byte, when their states are."""
    other = CheckpointStore(tmp_path / "other", fingerprint=IDENTITY)
    path = other.save(20, {"weight": torch.full((7, 5), 20.0), "rate": 0.1})

    for name in ("manifest.json", "rank-00000.safetensors"):
        assert (path / name).read_bytes() == (two_saved / "iteration-000000020" / name).read_bytes()


def test_old_ones_go_after_the_commit(folder: Path) -> None:
    """The newest `keep_last` stay."""
    store = CheckpointStore(folder, fingerprint=IDENTITY, retention=Retention(keep_last=2))

    for iteration in (1, 2, 3, 1_000_000_000):
        store.save(iteration, {"iteration": iteration})

    assert names(folder) == ["iteration-000000003", "iteration-1000000000"]


def test_what_was_not_validated_does_not_push_others_out(two_saved: Path) -> None:
    """A new process that has read only the newest deletes nothing that it might still need."""
    store = CheckpointStore(two_saved, fingerprint=IDENTITY, retention=Retention(keep_last=2))
    store.save(30, {})
    assert store.iterations() == [10, 20, 30]

    store = CheckpointStore(two_saved, fingerprint=IDENTITY, retention=Retention(keep_last=2))
    assert store.newest() is not None
    store.save(40, {})
    assert store.iterations() == [30, 40]


def test_saving_twice_changes_nothing(two_saved: Path) -> None:
    """A whole checkpoint is never written again."""
    file = two_saved / "iteration-000000020/rank-00000.safetensors"
    before = (file.stat().st_ino, file.read_bytes())

    path = CheckpointStore(two_saved, fingerprint=IDENTITY).save(20, {"weight": torch.zeros(3)})

    assert path == two_saved / "iteration-000000020"
    assert (file.stat().st_ino, file.read_bytes()) == before


def test_opening_for_writing_sweeps_what_the_dead_left(two_saved: Path) -> None:
    """Half-written and half-deleted checkpoints go; a reader leaves them to a living writer."""
    (two_saved / ".tmp-iteration-000000030-ab").mkdir()
    (two_saved / ".tmp-iteration-000000030-ab/rank-00000.safetensors").write_bytes(b"half")

    CheckpointReader(two_saved, fingerprint=IDENTITY).newest()
    assert ".tmp-iteration-000000030-ab" in names(two_saved)

    CheckpointStore(two_saved, fingerprint=IDENTITY)
    assert names(two_saved) == ["iteration-000000010", "iteration-000000020"]


def test_foreign_names_are_no_checkpoints(two_saved: Path) -> None:
    """Only folders with the exact name of a checkpoint count."""
    for name in ("iteration-30", "iteration-0000000030", "iteration-٣00000000", "damaged-0", "x"):
        (two_saved / name).mkdir()
    (two_saved / "iteration-000000030").write_bytes(b"a file")

    assert CheckpointStore(two_saved, fingerprint=IDENTITY).iterations() == [10, 20]


def test_another_run_is_refused(two_saved: Path) -> None:
    """The checkpoint of a run with another result is neither used nor touched."""
    with pytest.raises(CheckpointError) as caught:
        CheckpointStore(two_saved, fingerprint="fedcba9876543210").newest()

    assert str(caught.value) == (
        f"{two_saved}/iteration-000000020 cannot be used: it belongs to a run with fingerprint "
        "'0123456789abcdef'; this one has 'fedcba9876543210'. "
        "Restore the config that it was trained with, or start a run under another name."
    )
    assert names(two_saved) == ["iteration-000000010", "iteration-000000020"]


def test_what_differs_in_another_run_is_named(folder: Path) -> None:
    """Of a checkpoint whose run was another one, each key that differs is told."""
    CheckpointStore(
        folder,
        fingerprint="a",
        fingerprint_fields={"seed": 0, "architecture": {"num_features": 12}},
    ).save(1, {})
    reader = CheckpointReader(
        folder,
        fingerprint="b",
        fingerprint_fields={"seed": 0, "architecture": {"num_features": 16}},
    )

    with pytest.raises(CheckpointError) as caught:
        reader.newest()

    assert "another run: architecture.num_features: was 12, is 16. " in str(caught.value)


def test_new_words_about_an_array_make_no_other_run(folder: Path) -> None:
    """Where there were none; the run itself compares what is understood."""
    before = {"datasets": [{"raw": {"array": "s0", "offset_nm": None}}]}
    now = {"datasets": [{"raw": {"array": "s0", "offset_nm": [0, 0, 0], "axes": ["y", "x"]}}]}
    CheckpointStore(folder, fingerprint="a", fingerprint_fields=before).save(1, {})

    newest = CheckpointReader(folder, fingerprint="b", fingerprint_fields=now).newest()
    assert newest is not None
    CheckpointStore(folder, fingerprint="b", fingerprint_fields=now).save(2, {})
    with pytest.raises(CheckpointError, match="another run: "):
        CheckpointReader(folder, fingerprint="a", fingerprint_fields=before).load(2)


def test_any_run_will_do_on_request(two_saved: Path) -> None:
    """Without an fingerprint, the checkpoints of whatever run are read."""
    newest = CheckpointReader(two_saved, fingerprint=None).newest()

    assert newest is not None
    assert newest.iteration == 20


def test_what_goes_with_a_checkpoint_is_kept(folder: Path) -> None:
    """Metrics, if they are numbers, come back with it; they are told without reading the data."""
    store = CheckpointStore(folder, fingerprint=IDENTITY, fingerprint_fields={"seed": 3})

    path = store.save(1, {"weight": torch.ones(3)}, {"loss": 0.1, "noise": math.nan})

    manifest = inspect(path)
    assert (manifest.iteration, manifest.metrics) == (1, {"loss": 0.1})
    assert (manifest.identity, manifest.what_counts) == (IDENTITY, {"seed": 3})
    assert store.load(1).manifest == verify(path) == manifest


def test_round_and_best_ones_stay(folder: Path) -> None:
    """Beside the last ones, multiples of keep_every stay, and the best one, over restarts."""
    retention = Retention(keep_last=1, keep_every=40, keep_best=KeepBest(metric="loss"))
    losses = {10: 3.0, 20: 1.0, 30: 2.0, 40: 4.0, 50: 1.5}
    for iteration, loss in losses.items():
        store = CheckpointStore(folder, fingerprint=IDENTITY, retention=retention)
        store.newest()
        store.save(iteration, {}, {"loss": loss})

    assert store.iterations() == [20, 40, 50]
    store.save(60, {}, {"loss": 0.5})
    assert store.iterations() == [40, 60]


def test_a_damaged_best_one_drives_nothing_out(folder: Path) -> None:
    """What claims to be the best is read before the next best one goes."""
    retention = Retention(keep_last=1, keep_best=KeepBest(metric="score", mode="max"))
    store = CheckpointStore(folder, fingerprint=IDENTITY, retention=retention)
    for iteration, score in {10: 9.0, 20: 8.0}.items():
        store.save(iteration, {"weight": torch.ones(3)}, {"score": score})
    (folder / "iteration-000000010/rank-00000.safetensors").write_bytes(b"x" * 4108)

    store = CheckpointStore(folder, fingerprint=IDENTITY, retention=retention)
    store.save(30, {}, {"score": 1.0})

    assert names(folder) == [
        "damaged-iteration-000000010-0",
        "iteration-000000020",
        "iteration-000000030",
    ]


def test_a_folder_that_vanishes_comes_back(folder: Path) -> None:
    """The next save makes it anew, but not the run's folder, which others answer for."""
    store = CheckpointStore(folder, fingerprint=IDENTITY)
    store.save(1, {})
    shutil.rmtree(folder)

    store.save(2, {})

    assert names(folder) == ["iteration-000000002"]
    shutil.rmtree(folder.parent)
    with pytest.raises(CheckpointError, match=r"No such file or directory.*the folder has vanish"):
        store.save(3, {})


@pytest.mark.parametrize("num_readable", [0, 1])
def test_a_lease_that_is_away_with_the_folder_costs_one_save(
    folder: Path, num_readable: int
) -> None:
    """It is no reason to give up, whether it is missed before or after the folder is."""
    left = math.inf

    def fence() -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise LeaseUnreadableError(errno.ENOENT, "No such file or directory", "lease.json")

    store = CheckpointStore(folder, fingerprint=IDENTITY, fence=fence)
    shutil.rmtree(folder.parent)
    left = num_readable

    with pytest.raises(StorageUnavailableError, match="No such file or directory"):
        store.save(1, {})


def test_the_memory_of_a_checkpoint_can_be_given_back(two_saved: Path) -> None:
    """A tensor that somebody holds lives on; the others are gone."""
    checkpoint = CheckpointReader(two_saved, fingerprint=IDENTITY).load(20)
    weight = checkpoint.state["weight"]

    checkpoint.release()

    assert weight.equal(torch.full((7, 5), 20.0))
    assert checkpoint.iteration == 20


def test_what_cannot_be_saved_leaves_no_trace(two_saved: Path) -> None:
    """A state of an unknown type is refused before anything is written."""
    with pytest.raises(TypeError, match=r"state/bad: found a builtins\.object"):
        CheckpointStore(two_saved, fingerprint=IDENTITY).save(30, {"bad": object()})

    assert names(two_saved) == ["iteration-000000010", "iteration-000000020"]


def test_the_commit_is_durable_in_order(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Data, manifest and folder reach the disk before the rename, and the rename after them."""
    store = CheckpointStore(folder, fingerprint=IDENTITY)
    calls: list[str] = []
    fsync, rename = os.fsync, os.rename

    def record_fsync(descriptor: int) -> None:
        fsync(descriptor)
        calls.append("fsync " + Path(f"/proc/self/fd/{descriptor}").readlink().name.split("-")[0])

    def record_rename(source: Path, target: Path) -> None:
        rename(source, target)
        calls.append(f"rename to {target.name}")

    monkeypatch.setattr(os, "fsync", record_fsync)
    monkeypatch.setattr(os, "rename", record_rename)
    store.save(10, {"weight": torch.ones(2)})

    assert calls == [
        "fsync rank",
        "fsync manifest.json",
        "fsync .tmp",
        "rename to iteration-000000010",
        "fsync checkpoints",
    ]


def test_a_half_deleted_checkpoint_is_no_checkpoint(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """When a deletion fails after its first file, training goes on and the rest goes later."""
    store = CheckpointStore(folder, fingerprint=IDENTITY, retention=Retention(keep_last=1))
    store.save(1, {})

    def fail(path: Path) -> None:
        next(path.iterdir()).unlink()
        raise OSError("busy")

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", lambda path, **_: fail(path) if path.exists() else None)
        store.save(2, {})

    assert store.iterations() == [2]
    assert "iteration-000000001: busy; it takes up space until that is possible" in caplog.text
    assert len(names(folder)) == 2
    CheckpointStore(folder, fingerprint=IDENTITY)
    assert names(folder) == ["iteration-000000002"]


def test_a_reader_follows_a_running_training(two_saved: Path) -> None:
    """When retention takes all that a reader has listed, it finds what has come since."""
    store = CheckpointStore(two_saved, fingerprint=IDENTITY, retention=Retention(keep_last=1))

    class InterruptedReader(CheckpointReader):
        def iterations(self) -> list[int]:
            found = super().iterations()
            if found == [10, 20]:
                store.save(30, {})
            return found

    newest = InterruptedReader(two_saved, fingerprint=IDENTITY).newest()

    assert newest is not None
    assert newest.iteration == 30


def commit(store: CheckpointStore, iteration: int, *, is_finite: bool = True) -> None:
    """Commit a state that is said to be finite or not."""
    staged = Staging().stage({"weight": torch.full((3,), float(iteration))})
    store.commit(iteration, attrs.evolve(staged, is_finite=lambda: is_finite))


def test_weights_that_are_not_finite_are_never_resumed(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The newest finite checkpoint is, and it is said which was skipped."""
    store = CheckpointStore(folder, fingerprint=IDENTITY)
    for iteration, is_finite in ((10, True), (20, True), (30, False)):
        commit(store, iteration, is_finite=is_finite)
    store.delete_old()

    for reader in (store, CheckpointReader(folder, fingerprint=IDENTITY)):
        newest, earlier = reader.newest(), reader.newest(up_to=19)
        assert newest is not None
        assert earlier is not None
        assert (newest.iteration, earlier.iteration) == (20, 10)
    assert "iteration-000000030 holds weights that are NaN or infinite" in caplog.text
    assert store.iterations() == [10, 20, 30]


def test_a_finite_state_takes_the_place_of_another(folder: Path) -> None:
    """The run went back, and reached the iteration again by another way."""
    store = CheckpointStore(folder, fingerprint=IDENTITY)
    commit(store, 10, is_finite=False)

    commit(store, 10)

    newest = store.newest()
    assert newest is not None
    assert newest.manifest.is_finite


def test_what_is_not_trusted_is_set_aside(folder: Path) -> None:
    """It is kept to look at, and the run resumes from before it."""
    told: list[str] = []
    store = CheckpointStore(
        folder, fingerprint=IDENTITY, on_damaged=lambda name, aside, why: told.append(why)
    )
    for iteration in (10, 20, 30):
        commit(store, iteration)

    assert store.distrust(newer_than=15, reason="a faulty GPU") == 10
    assert store.iterations() == [10]
    assert told == ["a faulty GPU"] * 2

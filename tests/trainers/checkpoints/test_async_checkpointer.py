"""Saving while the training goes on."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from trainers.checkpoints import CheckpointReader, CheckpointStore, async_checkpointer
from trainers.checkpoints.async_checkpointer import AsyncCheckpointer, Commit
from trainers.errors import CheckpointError, LeaseLostError, StorageUnavailableError

IDENTITY = "0123456789abcdef"


class Told:
    """What a saver has told, and what it is to do before its next commits, one after the other."""

    def __init__(self) -> None:
        self.commits: list[Commit] = []
        self.failures: list[int] = []
        self.before: list[Callable[[], None]] = []

    def before_commit(self) -> None:
        if self.before:
            self.before.pop(0)()

    def on_failure(self, iteration: int, error: CheckpointError) -> None:
        self.failures.append(iteration)


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def saver(folder: Path, told: Told) -> Iterator[AsyncCheckpointer]:
    saver = AsyncCheckpointer(
        CheckpointStore(folder, fingerprint=IDENTITY),
        environment={"torch": "2"},
        before_commit=told.before_commit,
        on_commit=told.commits.append,
        on_failure=told.on_failure,
    )
    yield saver
    saver.close()


class Gate:
    """Holds a save up, right before its commit, until it is opened."""

    def __init__(self) -> None:
        self._opened = threading.Event()

    def open(self) -> None:
        self._opened.set()

    def __call__(self) -> None:
        assert self._opened.wait(60)


def no_room() -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_the_state_may_change_at_once(saver: AsyncCheckpointer, told: Told, folder: Path) -> None:
    """What was when `start` was called is saved, with all that was given along."""
    gate = Gate()
    told.before = [gate]
    weight = torch.ones(1000)
    saver.prepare({"weight": weight})

    assert saver.start(7, {"weight": weight}, {"loss": 0.5})
    weight.zero_()
    gate.open()
    saver.wait()

    saved = CheckpointReader(folder, fingerprint=IDENTITY).load(7)
    assert saved.state["weight"].sum() == 1000
    assert saved.manifest.metrics == {"loss": 0.5}
    assert saved.manifest.environment == {"torch": "2"}
    (commit,) = told.commits
    assert (commit.iteration, commit.num_bytes) == (7, 8096)
    assert 0 < commit.stall_s < commit.durable_s


def test_a_save_that_finds_another_one_in_flight_is_skipped(
    saver: AsyncCheckpointer, told: Told
) -> None:
    """It is counted, and the training does not wait."""
    gate = Gate()
    told.before = [gate]
    saver.start(1, {})

    assert not saver.start(2, {})

    assert (saver.num_skipped, saver.num_failed) == (1, 0)
    gate.open()
    saver.wait()
    assert saver.start(3, {})


def test_the_last_save_waits_for_the_one_in_flight(
    saver: AsyncCheckpointer, told: Told, folder: Path
) -> None:
    """Both are committed, in their order."""
    gate = Gate()
    told.before = [gate]
    saver.start(1, {})
    threading.Timer(0.05, gate.open).start()

    saver.save(2, {})

    assert [each.iteration for each in told.commits] == [1, 2]
    assert CheckpointReader(folder, fingerprint=IDENTITY).iterations() == [1, 2]


def test_the_last_save_may_be_in_flight_already(
    saver: AsyncCheckpointer, told: Told, folder: Path
) -> None:
    """An iteration is saved once."""
    gate = Gate()
    told.before = [gate]
    saver.start(1, {"first": True})
    threading.Timer(0.05, gate.open).start()

    saver.save(1, {"first": False})

    assert len(told.commits) == 1
    assert CheckpointReader(folder, fingerprint=IDENTITY).load(1).state == {"first": True}


def test_the_last_save_makes_up_for_one_that_has_failed(
    saver: AsyncCheckpointer, told: Told, folder: Path
) -> None:
    """An iteration whose save in flight fails is saved again."""
    told.before = [no_room]
    saver.start(1, {})

    saver.save(1, {})

    assert (saver.num_failed, CheckpointReader(folder, fingerprint=IDENTITY).iterations()) == (
        1,
        [1],
    )


def test_training_goes_on_without_a_checkpoint_that_fails(
    saver: AsyncCheckpointer, told: Told, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The log says so, it is counted, and nothing of it is left."""
    told.before = [no_room]

    assert saver.start(1, {})
    with pytest.raises(CheckpointError, match="No space left on device"):
        saver.wait()
    assert saver.start(2, {})
    saver.wait()

    assert "training continues without this checkpoint: cannot write " in caplog.text
    assert (saver.num_failed, told.failures) == (1, [1])
    assert [each.name for each in folder.iterdir()] == ["iteration-000000002"]


def test_the_last_save_must_succeed(
    saver: AsyncCheckpointer,
    told: Told,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A failure that lasts reaches the caller, and it is not said that training goes on."""
    monkeypatch.setattr(async_checkpointer, "LAST_SAVE_TIMEOUT_S", 0.0)
    told.before = [no_room]

    with pytest.raises(StorageUnavailableError, match="No space left on device"):
        saver.save(1, {})

    assert (saver.num_failed, told.failures) == (1, [1])
    assert caplog.text == ""


def test_the_last_save_waits_for_room(
    saver: AsyncCheckpointer, told: Told, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A full disk is tried again, with one line in the log; nothing has failed in the end."""
    told.before = [no_room, no_room]

    saver.save(1, {})

    assert [each.name for each in folder.iterdir()] == ["iteration-000000001"]
    assert (saver.num_failed, told.failures) == (0, [])
    assert caplog.text.count("the last checkpoint is tried again for a while: ") == 1


def test_what_cannot_be_saved_is_refused_at_once(saver: AsyncCheckpointer) -> None:
    """A mistake in the state is one of the program, not of the disk."""
    with pytest.raises(TypeError, match="state/bad: found a"):
        saver.start(1, {"bad": object()})


def test_a_lost_lease_reaches_the_training(folder: Path) -> None:
    """Whatever is not the disk's fault ends the run, if not at once then at the next save."""

    def passed_over() -> None:
        if threading.current_thread() is not threading.main_thread():
            raise LeaseLostError("somebody has taken over")

    saver = AsyncCheckpointer(CheckpointStore(folder, fingerprint=IDENTITY, fence=passed_over))
    assert saver.start(1, {})
    with pytest.raises(LeaseLostError):
        saver.save(2, {})
    saver.close()


def test_a_state_may_be_built_otherwise_than_was_prepared_for(
    saver: AsyncCheckpointer, folder: Path
) -> None:
    """The memory grows."""
    saver.prepare({"weight": torch.ones(10)})

    saver.start(1, {"weight": torch.full((100_000,), 2.0)})
    saver.wait()

    assert CheckpointReader(folder, fingerprint=IDENTITY).load(1).state["weight"].sum() == 200_000


def test_closing_lets_the_save_in_flight_finish(folder: Path) -> None:
    """What was begun is committed; one that fails has been told of."""
    for before_commit, saved in ((no_room, []), (lambda: None, [1])):
        saver = AsyncCheckpointer(
            CheckpointStore(folder, fingerprint=IDENTITY), before_commit=before_commit
        )
        saver.start(1, {})

        saver.close()

        assert CheckpointReader(folder, fingerprint=IDENTITY).iterations() == saved

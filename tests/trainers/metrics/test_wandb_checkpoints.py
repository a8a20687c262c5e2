"""The best and the newest checkpoint at W&B, with its real client."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest
import torch
import wandb
import xxhash

from tests.fakes.wandb_artifacts import Version
from tests.fakes.wandb_server import WandbServer
from tests.trainers.metrics.runs import RUN_ID, record_of, run_config
from trainers.checkpoints import CheckpointStore
from trainers.checkpoints.layout import folder_name
from trainers.checkpoints.retention import KeepBest, Retention
from trainers.checkpoints.staging import Staging
from trainers.checkpoints.verification import verify
from trainers.config.artifact_address import ArtifactAddress
from trainers.config.checkpoint_config import CheckpointConfig
from trainers.config.run_config import RunConfig, WandbConfig, WandbUpload
from trainers.metrics import row_feed, wandb_checkpoints, wandb_writer
from trainers.metrics.metric_writer import MetricWriter
from trainers.metrics.open_writer import open_metric_writer
from trainers.run.run_folder import RunFolder
from trainers.weights.wandb_artifact import fetch, find_artifact

KEEP_BEST = KeepBest(metric="loss")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look often, and have time at the end."""
    monkeypatch.setattr(wandb_checkpoints, "LOOK_INTERVAL_S", 0.2)
    monkeypatch.setattr(wandb_checkpoints, "SEND_INTERVAL_S", 0.2)
    for module, limit in (
        (wandb_checkpoints, "LAST_S"),
        (wandb_writer, "FINISH_TIMEOUT_S"),
        (row_feed, "CLOSE_TIMEOUT_S"),
    ):
        monkeypatch.setattr(module, limit, 120.0)  # of a machine under any load


def config(upload: WandbUpload | None = None) -> RunConfig:
    return attrs.evolve(
        run_config("online"),
        wandb=WandbConfig(project="tests", mode="online", upload=upload),
        checkpoint=CheckpointConfig(keep_best=KEEP_BEST),
    )


def save(folder: RunFolder, iteration: int, *, loss: float = 1.0, keep_last: int = 9) -> Path:
    retention = Retention(keep_last=keep_last, keep_best=KEEP_BEST)
    store = CheckpointStore(folder.checkpoints, fingerprint="f", retention=retention)
    state = {"model": {"weights": torch.full((4,), float(iteration))}}
    return store.save(iteration, state, metrics={"loss": loss})


@contextmanager
def open_attempt(folder: RunFolder, upload: WandbUpload | None = None) -> Iterator[MetricWriter]:
    """An attempt that is stopped at its end, as by a preemption, unless it was closed before."""
    record = record_of(folder)
    writer = open_metric_writer(config(upload), record, start_iteration=0)
    writer.write(0, {"loss": 1.0})
    writer.sync()
    try:
        yield writer
    finally:
        writer.close(finished=False, preempted=True)
        record.close(10.0)


def finish(folder: RunFolder, upload: WandbUpload | None = None) -> None:
    """An attempt that ends at once."""
    record = record_of(folder)
    writer = open_metric_writer(config(upload), record, start_iteration=0)
    writer.write(0, {"loss": 1.0})
    writer.sync()
    writer.close(finished=True, preempted=False)
    record.close(10.0)


def wait_for(condition: Callable[[], Any]) -> None:
    for _ in range(600):
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError("it did not happen")


def iteration_of(version: Version | None) -> int | None:
    return version.metadata["iteration"] if version else None


def latest(server: WandbServer) -> int | None:
    return iteration_of(server.artifacts.with_alias("latest"))


def best(server: WandbServer) -> int | None:
    return iteration_of(server.artifacts.with_alias("best"))


def test_a_checkpoint_is_a_reference_with_our_checksum(
    server: WandbServer, folder: RunFolder
) -> None:
    path = save(folder, 10)
    finish(folder)
    version = server.artifacts.with_alias("latest")
    assert version is not None
    assert version.references == {path.name: path.as_uri()}
    checksum = xxhash.xxh3_128_hexdigest((path / "manifest.json").read_bytes())
    assert version.manifest["contents"][path.name]["digest"] == checksum
    assert version.metadata["manifest_xxh3_128"] == checksum
    assert version.metadata["metrics"] == {"loss": 1.0}
    assert (version.type, version.collection, version.run) == (
        "checkpoint",
        f"first-{RUN_ID}",
        RUN_ID,
    )
    assert version.files == {}


def test_best_and_latest_are_told_apart(server: WandbServer, folder: RunFolder) -> None:
    for iteration, loss in ((10, 2.0), (20, 1.0), (30, 3.0)):
        save(folder, iteration, loss=loss)
    finish(folder)
    assert (best(server), latest(server)) == (20, 30)


def test_new_checkpoints_arrive_while_the_run_trains(
    server: WandbServer, folder: RunFolder
) -> None:
    with open_attempt(folder):
        for iteration, loss in ((10, 2.0), (20, 1.0), (30, 3.0)):
            save(folder, iteration, loss=loss)
            wait_for(lambda: latest(server) == iteration)  # noqa: B023
        assert best(server) == 20
    assert len(server.artifacts.versions) == 3


def test_after_a_rollback_latest_is_what_is_left(server: WandbServer, folder: RunFolder) -> None:
    """A version that W&B has already gets its aliases back."""
    save(folder, 10, loss=2.0)
    finish(folder)
    newest = save(folder, 20, loss=1.0)
    finish(folder)
    assert (best(server), latest(server)) == (20, 20)
    newest.rename(newest.with_name(f"damaged-{newest.name}-0"))
    with open_attempt(folder):
        wait_for(lambda: latest(server) == 10)
    assert best(server) == 10
    assert len(server.artifacts.versions) == 2


def test_what_was_computed_anew_is_another_version(server: WandbServer, folder: RunFolder) -> None:
    """A rewound run may save other weights under the same name."""
    shutil.rmtree(save(folder, 10, loss=2.0))
    save(folder, 10, loss=2.0)
    finish(folder)
    shutil.rmtree(folder.checkpoints / folder_name(10))
    save(folder, 10, loss=1.0)
    finish(folder)
    found = server.artifacts.with_alias("latest")
    assert found is not None
    assert found.metadata["metrics"] == {"loss": 1.0}


def test_a_checkpoint_that_is_not_finite_is_not_shown(
    server: WandbServer, folder: RunFolder
) -> None:
    save(folder, 10)
    store = CheckpointStore(folder.checkpoints, fingerprint="f", retention=Retention(keep_last=9))
    staged = Staging().stage({"model": {"weights": torch.zeros(1)}})
    store.commit(20, attrs.evolve(staged, is_finite=lambda: False))
    finish(folder)
    assert latest(server) == 10


@pytest.mark.parametrize(
    ("upload", "uploaded"), [("best", [20]), ("last", [30]), ("all", [20, 30])]
)
def test_files_are_sent_where_asked_for(
    server: WandbServer, folder: RunFolder, upload: WandbUpload, uploaded: list[int]
) -> None:
    for iteration, loss in ((10, 2.0), (20, 1.0), (30, 3.0)):
        save(folder, iteration, loss=loss)
    finish(folder, upload)
    assert (best(server), latest(server)) == (20, 30)
    sent = [each for each in server.artifacts.versions if each.files]
    assert [iteration_of(each) for each in sent] == uploaded
    for each in sent:
        path = folder.checkpoints / folder_name(each.metadata["iteration"])
        assert each.files == {file.name: file.read_bytes() for file in path.iterdir()}
    assert not list(folder.wandb.glob("upload-*"))


def test_wandb_reads_back_what_was_sent(
    server: WandbServer, folder: RunFolder, tmp_path: Path
) -> None:
    path = save(folder, 10)
    finish(folder, "last")
    artifact = wandb.Api().artifact(f"somebody/tests/first-{RUN_ID}:latest")
    there = Path(artifact.download(root=str(tmp_path / "there")))
    wandb_writer.end_service()  # of this server
    assert {each.name: each.read_bytes() for each in there.iterdir()} == {
        each.name: each.read_bytes() for each in path.iterdir()
    }


def test_a_run_can_begin_with_what_was_sent(
    server: WandbServer, folder: RunFolder, tmp_path: Path
) -> None:
    """The reference leads to the checkpoint, the files to a copy."""
    path = save(folder, 10)
    finish(folder)
    address = ArtifactAddress("somebody", "tests", f"first-{RUN_ID}", "latest")
    assert fetch(find_artifact(address), tmp_path / "cache") == path
    save(folder, 20)
    finish(folder, "last")
    found = find_artifact(address)
    assert (found.iteration, found.address.alias) == (20, "v1")
    shutil.rmtree(folder.checkpoints)
    assert verify(fetch(found, tmp_path / "cache")).iteration == 20


def test_a_server_without_artifacts_costs_a_sentence(
    server: WandbServer, folder: RunFolder, caplog: pytest.LogCaptureFixture
) -> None:
    server.fault = lambda operation: 403 if operation == "CreateArtifact" else None
    save(folder, 10)
    with open_attempt(folder):
        wait_for(lambda: "W&B does not have the newest checkpoint" in caplog.text)
        assert "may not write to the W&B project (403)" in caplog.text
        server.fault = lambda operation: None
        save(folder, 20)
        wait_for(lambda: latest(server) == 20)
    assert server.runs[RUN_ID].iterations == [0]


def test_a_stop_does_not_wait_for_a_checkpoint_on_its_way(
    server: WandbServer, folder: RunFolder
) -> None:
    """The next attempt tells W&B what is newest then."""
    with open_attempt(folder):
        wait_for(lambda: RUN_ID in server.runs)
        save(folder, 10)
        save(folder, 20)
    finish(folder)
    assert latest(server) == 20


def test_offline_runs_log_none(folder: RunFolder) -> None:
    record = record_of(folder)
    save(folder, 10)
    writer = open_metric_writer(run_config("offline"), record, start_iteration=0)
    writer.write(0, {"loss": 1.0})
    writer.sync()
    writer.close(finished=True, preempted=False)
    record.close(10.0)
    assert not (folder.wandb / "checkpoints-sent.json").exists()

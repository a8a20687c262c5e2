"""What W&B shows of a run besides its scalars, with its real client."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import attrs
import numpy as np
import pytest
import wandb

from tests.fakes.wandb_server import WandbServer
from tests.trainers.metrics.runs import RUN_ID, logs_of, record_of, records_of, run_config
from trainers.config.run_config import RunConfig, WandbMode
from trainers.gunpowder_trainer_config import GunpowderTrainerConfig
from trainers.metrics import wandb_details
from trainers.metrics.open_writer import open_metric_writer
from trainers.metrics.wandb_details import WandbDetails
from trainers.run.run_folder import RunFolder
from trainers.run.run_state import EventKind, RunState, append_event, write_state
from trainers.run.submission_record import SubmissionRecord, write_submission
from trainers.run.system_record import SystemSample
from trainers.snapshots import SnapshotWriter

Report = Callable[..., None]


def config(mode: WandbMode, **wandb_changes: Any) -> RunConfig:
    """A run with a snapshot every 4 iterations."""
    trainer = GunpowderTrainerConfig(
        name="first", batch_size=1, learning_rate=0.1, snapshot_interval=4
    )
    found = attrs.evolve(run_config(mode), trainer=trainer)
    return attrs.evolve(found, wandb=attrs.evolve(found.wandb, **wandb_changes))


def take_snapshot(folder: RunFolder, iteration: int) -> None:
    raw = np.random.default_rng(iteration).random((8, 8, 8), np.float32)
    writer = SnapshotWriter(folder.snapshots)
    writer.submit(iteration, {"raw": raw}, voxel_size_nm=(8, 8, 8), offsets_nm={"raw": (0, 0, 0)})
    writer.close()


def begin_attempt(folder: RunFolder, number: int, iteration: int, *, ended: str = "") -> None:
    """Record that an attempt began, and how the one before it ended."""
    if ended:
        append_event(
            folder, EventKind.ENDED, attempt=number - 1, cause=ended, iteration=iteration + 2
        )
        write_state(folder, RunState(wandb_id=RUN_ID, attempts={ended: number}))
    append_event(folder, EventKind.LAUNCHED, attempt=number, job="12_0", node="gpu7")
    append_event(folder, EventKind.RESTORED if number else EventKind.STARTED, iteration=iteration)
    append_event(
        folder,
        EventKind.ENVIRONMENT,
        node="gpu7",
        gpu="NVIDIA H200",
        volumes={"volume/raw": "0123456789abcdef 0/0/0", "web/raw": ""},
    )


@pytest.fixture
def report(folder: RunFolder) -> Report:
    """Report some iterations of an attempt, with a snapshot where one is due."""

    def report(
        config: RunConfig,
        iterations: range,
        *,
        snapshots: bool = True,
        finished: bool = False,
        preempted: bool = False,
    ) -> None:
        writer = open_metric_writer(config, record_of(folder), start_iteration=iterations[0])
        for iteration in iterations:
            if snapshots and iteration % 4 == 0:
                take_snapshot(folder, iteration)
            writer.write(iteration, {"loss": 1 / (iteration + 1)})
        writer.sync()
        writer.close(finished=finished, preempted=preempted)

    return report


def pictures(server: WandbServer) -> dict[int, str]:
    """The name of the picture in each row that has one."""
    rows = server.runs[RUN_ID].history
    return {row["iteration"]: row["snapshot"]["path"] for row in rows if "snapshot" in row}


def test_a_run_says_where_it_comes_from(
    server: WandbServer, folder: RunFolder, report: Report
) -> None:
    """Command, code, commit, cluster, node, GPU and data are in its config."""
    write_submission(
        folder,
        SubmissionRecord(
            command="launch submit e.yaml --cluster lab",
            cluster="lab",
            partition="gpu_long",
            code="c0de",
            version="0.1.0",
            git={"project": "abc + uncommitted changes"},
        ),
    )
    begin_attempt(folder, 0, 0)

    report(config("online", tags=("em", "pilot"), notes="try"), range(3), finished=True)

    run = server.runs[RUN_ID]
    assert (run.group, run.job_type, run.tags, run.notes) == (
        "all",
        "train",
        ["em", "pilot"],
        "try",
    )
    assert run.config["trainer"]["value"]["snapshot_interval"] == 4
    assert run.config["launch"]["value"] == {
        "command": "launch submit e.yaml --cluster lab",
        "cluster": "lab",
        "partition": "gpu_long",
        "code": "c0de",
        "version": "0.1.0",
        "git": {"project": "abc + uncommitted changes"},
        "node": "gpu7",
        "gpu": "NVIDIA H200",
        "job": "12_0",
        "data": {
            "fingerprint": "5df91404e62c23d3",
            "volumes": {"volume/raw": "0123456789abcdef", "web/raw": "on a server"},
        },
    }


def test_initial_weights_are_lineage(
    server: WandbServer, folder: RunFolder, report: Report
) -> None:
    """A fine-tuned run names the checkpoint that it started with."""
    taken = {"checkpoints": "/runs/base/checkpoints", "iteration": 500, "fingerprint": "f00d"}
    folder.initial_weights.write_text(json.dumps(taken))
    begin_attempt(folder, 0, 0)

    report(config("online"), range(1), finished=True)

    assert server.runs[RUN_ID].config["launch"]["value"]["init_from"] == taken


def test_tags_and_notes_of_the_browser_stay(
    server: WandbServer, folder: RunFolder, report: Report
) -> None:
    """What a user has changed in the browser survives the next attempt."""
    report(config("online", tags=("em",), notes="try"), range(2), preempted=True)
    server.runs[RUN_ID].tags = ["em", "keep"]
    server.runs[RUN_ID].notes = "my own"

    report(config("online", tags=("em", "late"), notes="try"), range(2, 4), finished=True)

    assert server.runs[RUN_ID].tags == ["em", "keep", "late"]
    assert server.runs[RUN_ID].notes == "my own"


def test_resumes_are_marked(server: WandbServer, folder: RunFolder, report: Report) -> None:
    """The first row of an attempt has its number, and a point for the curve of the loss."""
    begin_attempt(folder, 0, 0)
    report(config("online"), range(4), preempted=True)
    begin_attempt(folder, 1, 2, ended="preempted")
    report(config("online"), range(2, 6), finished=True)

    rows = server.runs[RUN_ID].history
    assert [row["iteration"] for row in rows] == [0, 1, 2, 3, 4, 5]
    assert [row["segment"] for row in rows] == [0, 0, 1, 1, 1, 1]
    assert [row.get("attempt_started") for row in rows] == [0, None, 1, None, None, None]
    assert [row.get("loss_at_resume") for row in rows] == [None, None, 1 / 3, None, None, None]


def test_attempts_are_a_table(server: WandbServer, folder: RunFolder, report: Report) -> None:
    """Each attempt is a row, with its cause, node and GPU; causes are counted."""
    begin_attempt(folder, 0, 0)
    report(config("online"), range(4), preempted=True)
    begin_attempt(folder, 1, 2, ended="preempted")
    report(config("online"), range(2, 6), finished=True)

    run = server.runs[RUN_ID]
    table = json.loads(run.files[run.summary["attempts"]["path"]])
    named = [dict(zip(table["columns"], row, strict=True)) for row in table["data"]]
    assert [row["cause"] for row in named] == ["preempted", "running"]
    assert [row["to iteration"] for row in named] == [4, 2]
    assert {row["node"] for row in named} == {"gpu7"}
    assert {row["GPU"] for row in named} == {"NVIDIA H200"}
    assert run.summary["attempts_by_cause/preempted"] == 1


def test_a_picture_is_in_the_row_of_its_snapshot(server: WandbServer, report: Report) -> None:
    """The pictures of snapshots are uploaded as PNG, small, and stand at their iterations."""
    report(config("online"), range(10), finished=True)

    found = pictures(server)
    assert list(found) == [0, 4, 8]
    files = server.runs[RUN_ID].files
    for path in found.values():
        assert files[path].startswith(b"\x89PNG")
        assert len(files[path]) <= 200_000
    assert server.runs[RUN_ID].history[4]["snapshot"]["caption"] == "iteration 4"


def test_rewound_pictures_come_once(server: WandbServer, folder: RunFolder, report: Report) -> None:
    """Whether or not the server rewinds, each snapshot has one picture."""
    report(config("online"), range(10), preempted=True)
    begin_attempt(folder, 1, 3, ended="preempted")
    report(config("online"), range(3, 12), preempted=True)
    server.can_rewind = False
    report(config("online"), range(5, 14), finished=True)

    assert list(pictures(server)) == [0, 4, 8, 12]
    assert server.runs[RUN_ID].iterations == list(range(14))


def test_pictures_that_never_arrived_come_from_disk(server: WandbServer, report: Report) -> None:
    """Rows that the server lacks are sent again with their pictures."""
    report(config("online"), range(10), preempted=True)
    del server.runs[RUN_ID].history[3:]

    report(config("online"), range(10, 12), finished=True)

    assert list(pictures(server)) == [0, 4, 8]


def test_a_picture_whose_row_has_arrived_without_it(server: WandbServer, report: Report) -> None:
    """W&B's service was killed between the two: the next attempt sends it."""
    report(config("online"), range(10), preempted=True)
    lost = server.runs[RUN_ID].files.pop(pictures(server)[8])

    report(config("online"), range(10, 12), finished=True)

    assert server.runs[RUN_ID].files[pictures(server)[8]] == lost
    assert list(pictures(server)) == [0, 4, 8]


def test_rows_wait_for_a_picture(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row whose snapshot is still being written, and later ones, come after it, in order."""
    monkeypatch.setattr(wandb_details, "PICTURE_TIMEOUT_S", 600.0)
    details = WandbDetails(folder, config("offline"), attempt=0, start_iteration=0)
    with wandb.init(mode="offline", dir=folder.path, settings=wandb.Settings(silent=True)) as run:
        folder.wandb.mkdir(exist_ok=True)
        details.begin(run, last_step=-1)
        details.write(run, 0, {"loss": 1.0})
        details.write(run, 1, {"loss": 1.0})
        assert run.summary.get("loss") is None

        take_snapshot(folder, 0)
        details.write(run, 2, {"loss": 0.5})

        assert run.summary["loss"] == 0.5
        assert run.summary["snapshot"]["caption"] == "iteration 0"
    wandb.teardown()  # its settings are those of this test


def test_a_snapshot_that_does_not_come_holds_nothing_up(
    server: WandbServer, report: Report, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without snapshots, as on a full disk, all rows arrive."""
    monkeypatch.setattr(wandb_details, "PICTURE_TIMEOUT_S", 0.0)

    report(config("online"), range(10), snapshots=False, finished=True)

    assert server.runs[RUN_ID].iterations == list(range(10))
    assert pictures(server) == {}


def test_thinned_rows_have_their_pictures(server: WandbServer, report: Report) -> None:
    """A row has the picture of the newest snapshot since the row before."""
    sparse = config("online")
    sparse = attrs.evolve(sparse, metrics=attrs.evolve(sparse.metrics, every_iterations=3))

    report(sparse, range(10), finished=True)

    rows = server.runs[RUN_ID].history
    captions = [row["snapshot"]["caption"] if "snapshot" in row else None for row in rows]
    assert [row["iteration"] for row in rows] == [0, 3, 6, 9]
    assert captions == ["iteration 0", None, "iteration 4", "iteration 8"]


def test_system_metrics_are_among_those_of_wandb(
    server: WandbServer, folder: RunFolder, report: Report
) -> None:
    """Lines of system.jsonl appear under W&B's names, at their times, each once."""
    metrics = {"gpu.0.gpu": 87.0, "proc.memory.rssMB": 512.0}
    sample = SystemSample(time=1.8e9, attempt=0, node="gpu7", metrics=metrics)
    folder.system.write_bytes(sample.line)

    report(config("online"), range(2), preempted=True)
    report(config("online"), range(2, 4), finished=True)

    ours = [row for row in server.runs[RUN_ID].system if row["_timestamp"] == 1.8e9]
    assert [row["system.gpu.0.gpu"] for row in ours] == [87.0]
    assert [row["system.proc.memory.rssMB"] for row in ours] == [512.0]
    assert "system.cpu" in server.runs[RUN_ID].system[-1]  # of this machine


def test_an_offline_run_has_everything(folder: RunFolder, report: Report) -> None:
    """W&B's own log has details, pictures, table and system metrics, for `wandb sync`."""
    begin_attempt(folder, 0, 0)

    report(config("offline", tags=("em",)), range(5), finished=True)

    (log,) = logs_of(folder)
    records = list(records_of(log))
    rows = [record.history for record in records if record.HasField("history")]
    keys = [{item.nested_key[0] or item.key for item in row.item} for row in rows]
    assert [row.step.num for row in rows] == [0, 1, 2, 3, 4]
    assert ["snapshot" in each for each in keys] == [True, False, False, False, True]
    assert any(record.HasField("stats") for record in records)
    runs = [record.run for record in records if record.HasField("run")]
    assert list(runs[-1].tags) == ["em"]
    assert len(list(log.parent.glob("files/media/images/snapshot_*.png"))) == 2

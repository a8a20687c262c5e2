"""When a run is saved, what goes into its checkpoints, and who is told."""

import errno
import json
import math
import os
import threading
from contextlib import suppress

import pytest

from trainers.checkpoints import CheckpointStore, KeepBest, async_checkpointer
from trainers.checkpoints.async_checkpointer import AsyncCheckpointer, Commit
from trainers.config.checkpoint_config import CheckpointConfig
from trainers.config.converter import from_plain
from trainers.config_faults import MalformedError
from trainers.errors import CheckpointError, ConfigError
from trainers.metrics.metric_writer import NullWriter
from trainers.run.run_figures import BestMetric
from trainers.run.run_folder import RunFolder
from trainers.run.run_record import RunRecord
from trainers.run.run_state import RunState, read_state
from trainers.training.checkpoint_hook import CheckpointSchedule, RunCheckpointHook
from trainers.training.progress import RunProgress
from trainers.training.random_state import RandomState


class Rows(NullWriter):
    """Rows that become durable, or do not yet, or cannot."""

    def __init__(self):
        self.may_sync = threading.Event()
        self.may_sync.set()
        self.is_full = False

    def sync(self):
        assert self.may_sync.wait(60)
        if self.is_full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class Run:
    """A run that is saved, though never trained."""

    def __init__(self, folder, **settings):
        self.folder = folder
        self.rows = Rows()
        self.now = 0.0
        config = CheckpointConfig(**settings)
        self.store = CheckpointStore(
            folder.checkpoints, fingerprint="x", retention=config.retention
        )
        self.record = RunRecord(folder, RunState())
        progress = RunProgress(self.record, 100, None)
        self._saver = AsyncCheckpointer(
            self.store,
            before_commit=self.rows.sync,
            on_commit=progress.saved,
            on_failure=progress.not_saved,
        )
        self._random_state = RandomState.of_iteration(0, 0)
        self._hook = RunCheckpointHook(
            self._saver,
            config,
            state_of=lambda random_state: {"random": random_state.state_dict()},
            progress=progress,
            clock=lambda: self.now,
        )

    def go_on(self, *iterations, wait=True, **row):
        for iteration in iterations:
            self._hook.after_iteration(iteration, row, self._random_state)
            if wait:
                self.wait()

    def wait(self):
        with suppress(CheckpointError):
            self._saver.wait()

    def end(self, iteration, **row):
        self._hook.at_end(iteration, row, self._random_state)

    def close(self):
        self._saver.close()

    def events(self):
        self.record.flush(60)
        lines = map(json.loads, self.folder.events.read_text().splitlines())
        return [(each["event"], each["iteration"]) for each in lines]


@pytest.fixture
def make_run(tmp_path):
    runs = []

    def make(**config):
        runs.append(Run(RunFolder(tmp_path), **config))
        return runs[-1]

    yield make
    for run in runs:
        run.close()


def test_a_run_is_saved_at_multiples_and_at_its_end(make_run):
    """Each checkpoint is an event, with what it cost, and the run's state follows."""
    run = make_run(every_iterations=2)

    run.go_on(1, 2, 3, 4)
    run.end(5)

    assert run.events() == [("checkpoint", 2), ("checkpoint", 4), ("checkpoint", 5)]
    state = read_state(run.folder)
    assert (state.iteration, state.saved_iteration) == (5, 5)
    last = json.loads(run.folder.events.read_text().splitlines()[-1])
    assert last["durable_s"] >= last["stall_s"] > 0
    restored = run.store.load(5).state["random"]
    assert restored["torch_cpu"].equal(RandomState.of_iteration(0, 0).torch_cpu)


def test_a_run_is_saved_after_some_minutes(make_run):
    """The time counts from the save before, whatever its reason was."""
    run = make_run(every_minutes=10)
    for iteration, minutes in ((1, 9.9), (2, 10.0), (3, 19.9), (4, 20.1)):
        run.now = 60 * minutes
        run.go_on(iteration)

    assert run.events() == [("checkpoint", 2), ("checkpoint", 4)]


def test_there_may_be_two_reasons_to_save():
    """With both, a run is saved at multiples, and in between if that takes too long."""
    schedule = CheckpointSchedule(every_iterations=10, every_minutes=1, now_s=0)

    due = [each for each in range(1, 21) if schedule.is_due(each, now_s=8 * each)]

    assert due == [8, 10, 18, 20]


def test_no_checkpoint_before_its_rows(make_run):
    """As long as the rows of the metrics are not durable, there is none; the next is skipped."""
    run = make_run(every_iterations=1)
    run.rows.may_sync.clear()

    run.go_on(1, 2, wait=False)

    assert run.store.iterations() == []
    run.rows.may_sync.set()
    run.wait()
    assert run.events() == [("checkpoint_skipped", 2), ("checkpoint", 1)]


def test_rows_that_cannot_be_kept_cost_the_checkpoint(make_run, monkeypatch):
    """Nothing else: training goes on, and saves again."""
    monkeypatch.setattr(async_checkpointer, "LAST_SAVE_TIMEOUT_S", 0.0)
    run = make_run(every_iterations=1)
    run.rows.is_full = True
    run.go_on(1)
    with pytest.raises(CheckpointError, match="No space left on device"):
        run.end(2)
    run.rows.is_full = False
    run.go_on(3)

    assert run.events() == [
        ("checkpoint_failed", 1),
        ("checkpoint_failed", 2),
        ("checkpoint", 3),
    ]
    failed = json.loads(run.folder.events.read_text().splitlines()[0])
    assert "No space left on device" in failed["reason"]


def test_metrics_are_means_since_the_save_before(make_run):
    """Of all finite scalars, over the iterations after the last time that it was tried."""
    run = make_run(every_iterations=2, keep_last=9)
    for iteration, loss in enumerate([1.0, 2.0, 4.0, 5.0, math.nan, 7.0], start=1):
        run.go_on(iteration, loss=loss, rate=0.5)

    metrics = [run.store.load(each).manifest.metrics for each in (2, 4, 6)]

    assert metrics == [
        {"loss": 1.5, "rate": 0.5},
        {"loss": 4.5, "rate": 0.5},
        {"loss": 7.0, "rate": 0.5},
    ]


def test_the_best_checkpoint_stays(make_run):
    """By the mean of a scalar, the lowest unless it is said otherwise."""
    run = make_run(every_iterations=1, keep_last=1, keep_best=KeepBest(metric="loss"))
    for iteration, loss in enumerate([3.0, 1.0, 2.0, 4.0], start=1):
        run.go_on(iteration, loss=loss)

    assert run.store.iterations() == [2, 4]
    assert run.record.state.figures.best == BestMetric(
        metric="loss", mode="min", value=1.0, iteration=2
    )


def test_the_best_needs_a_scalar_that_there_is(make_run):
    """A misspelt one is told at the first iteration, with those that there are."""
    run = make_run(keep_best=KeepBest(metric="los"))

    with pytest.raises(ConfigError) as caught:
        run.go_on(1, loss=0.5, learning_rate=0.1)

    assert str(caught.value) == (
        "checkpoint.keep_best.metric: found 'los'; this run has: learning_rate, loss"
    )


def test_a_late_checkpoint_does_not_bring_the_run_back(tmp_path):
    """state.json tells of the iteration that the training has come to."""
    record = RunRecord(RunFolder(tmp_path), RunState())
    progress = RunProgress(record, 100, None)
    progress.begin(7, restored=True)

    progress.saved(Commit(iteration=5, num_bytes=1, stall_s=0.1, durable_s=0.2))
    record.flush(60)

    state = read_state(RunFolder(tmp_path))
    assert (state.iteration, state.saved_iteration) == (7, 5)


def test_no_run_ends_because_nobody_can_be_told(tmp_path, caplog):
    """Neither state nor events can be written: that is said once, and they come later."""
    folder = RunFolder(tmp_path / "run")
    record = RunRecord(folder, RunState())
    progress = RunProgress(record, 100, None)

    progress.begin(1, restored=False)
    progress.skipped(2)
    with pytest.raises(FileNotFoundError):
        record.flush(0.1)
    progress.begin(3, restored=False)

    assert caplog.text.count(f"cannot write {folder.state}") == 1
    assert caplog.text.count(f"cannot write {folder.events}") == 1
    folder.path.mkdir()
    record.flush(60)
    assert read_state(folder).iteration == 3
    lines = folder.events.read_text().splitlines()
    assert [json.loads(line)["iteration"] for line in lines] == [1, 2, 3]


def test_one_interval_is_enough():
    """Whoever counts minutes counts no iterations, unless it is said."""
    assert CheckpointConfig().every_iterations == 1000
    assert CheckpointConfig(every_minutes=10).every_iterations is None
    assert CheckpointConfig(every_minutes=10, every_iterations=5).every_iterations == 5


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"every_iterations": None}, "every_iterations: found null, and no every_minutes; a run"),
        ({"every_minutes": 0}, "every_minutes: found 0; must be more than 0"),
        ({"keep_last": 0}, "keep_last: found 0; must be at least 1"),
        ({"keep_every": 0}, "keep_every: found 0; must be at least 1"),
        ({"keep_best": {"metric": "loss", "mode": "mean"}}, "keep_best.mode: found mean; "),
        ({"keep_best": {"mode": "min"}}, "keep_best.metric: required key is missing"),
        ({"keep_best": "loss"}, "keep_best: found loss; must be a mapping"),
    ],
)
def test_a_bad_key_is_named(data, message):
    """The message says what was found and what is allowed."""
    with pytest.raises(MalformedError) as caught:
        from_plain(CheckpointConfig, data)

    assert message in str(caught.value).replace("'", "")

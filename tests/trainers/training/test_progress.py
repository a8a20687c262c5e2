"""What rank 0 records about an attempt that goes on."""

import socket
import time
from types import SimpleNamespace
from typing import Any

import pytest

from scripts.workloads.logs import json_lines
from trainers.checkpoints.async_checkpointer import Commit
from trainers.run.run_figures import BestMetric, RunFigures
from trainers.run.run_folder import RunFolder
from trainers.run.run_record import RunRecord
from trainers.run.run_state import RunState, read_state, write_state
from trainers.run.sections import Section, Sections
from trainers.stream.worker_pool import WorkerPool
from trainers.training import progress as progress_module
from trainers.training.progress import RunProgress
from trainers.training.startup import StartTimes, Startup
from trainers.training_iteration_stats import TrainingIterationStats


class Attempt:
    """An attempt that reports iterations, with sections whose time the test sets."""

    def __init__(self, folder):
        self.sections = Sections()
        self.folder = folder
        prefetch: Any = SimpleNamespace(seconds=0.0)
        self.record = RunRecord(folder, read_state(folder))
        startup = Startup(StartTimes(), self.record, WorkerPool(), prefetch)
        self.progress = RunProgress(self.record, 100_000, startup)
        self.progress.begin(0, restored=False)
        self.iteration = 0

    def train(self, minutes, iteration_s, kind="step"):
        for _ in range(int(60 * minutes / iteration_s)):
            self.sections.spent_s[kind] = self.sections.spent_s.get(kind, 0.0) + iteration_s
            self.progress.report(
                TrainingIterationStats(
                    iteration=self.iteration, loss=1.0, time=1.0, learning_rate=0.1
                )
            )
            self.iteration += 1

    @property
    def events(self):
        self.record.flush(10)
        return [event["event"] for event in json_lines(self.folder.events)]

    def state(self):
        self.record.flush(10)
        return read_state(self.folder)


@pytest.fixture
def attempt(tmp_path, monkeypatch):
    found = Attempt(RunFolder(tmp_path))
    monkeypatch.setattr(progress_module, "SECTIONS", found.sections)
    monkeypatch.setattr(progress_module, "STATE_INTERVAL_S", 0.0)
    return found


def test_a_slow_run_is_recorded_once_and_so_is_its_recovery(attempt):
    """As events, and in the state for as long as it lasts."""
    attempt.train(5, 60.0)
    attempt.train(12, 180.0, kind="data")
    state = attempt.state()
    assert state.concern.startswith("slow: 180 s an iteration, 60 s at its best; data grew most")
    assert state.fastest_iteration_s == {"step": 60.0}

    attempt.train(3, 60.0)

    assert attempt.state().concern == ""
    assert attempt.events == ["started", "began", "slow", "recovered"]


def test_w_and_b_that_does_not_answer_is_recorded_once(attempt):
    """The training goes on."""
    attempt.train(1, 60.0)
    attempt.sections.silent = frozenset([Section.WANDB])
    attempt.train(1, 60.0)

    assert attempt.state().concern == ("W&B does not answer; training continues without it")
    assert attempt.events == ["started", "began", "W&B silent"]


def test_the_slowest_sections_are_known_to_the_next_attempt(attempt):
    """By them it recognizes a hang."""
    attempt.sections.learn({"save": 12.34})

    attempt.train(1, 60.0)

    assert attempt.state().slowest_sections_s == {"save": 12.3}


def test_the_state_has_what_people_look_for(attempt):
    """Loss, rate, node, and when it was written: nobody needs to read the metrics for it."""
    attempt.train(1, 2.0)

    figures = attempt.state().figures
    assert figures.loss == 1.0
    assert figures.iterations_per_s > 0
    assert (figures.node, figures.num_nodes) == (socket.gethostname(), 1)
    assert abs(figures.alive_at - time.time()) < 3600
    assert figures.best is None


def commit(iteration, best):
    return Commit(iteration=iteration, num_bytes=1, stall_s=0.0, durable_s=0.0, best=best)


def best_at(iteration):
    return BestMetric(metric="loss", mode="min", value=0.5, iteration=iteration)


def test_the_best_metric_follows_the_checkpoints(attempt):
    """Until its checkpoint is no longer trusted; then the next commit says which is the best."""
    attempt.progress.saved(commit(10, best_at(10)))
    attempt.progress.saved(commit(20, best_at(10)))
    assert attempt.state().figures.best == best_at(10)

    attempt.progress.went_back(5)

    assert attempt.state().figures.best is None


@pytest.mark.parametrize(
    ("iteration", "expected"), [(20, best_at(10)), (10, best_at(10)), (9, None)]
)
def test_a_resumed_attempt_keeps_the_figures_it_had(tmp_path, iteration, expected):
    """Not the best metric of a checkpoint that it does not resume from or after."""
    folder = RunFolder(tmp_path)
    figures = RunFigures(loss=0.25, iterations_per_s=3.0, best=best_at(10), node="away")
    write_state(folder, RunState(iteration=20, figures=figures))
    record = RunRecord(folder, read_state(folder))

    RunProgress(record, 100, None).begin(iteration, restored=True, num_nodes=2)
    record.flush(10)

    found = read_state(folder).figures
    assert (found.loss, found.iterations_per_s, found.best) == (0.25, 3.0, expected)
    assert (found.node, found.num_nodes) == (socket.gethostname(), 2)


def test_a_run_that_starts_over_has_no_loss_yet(tmp_path):
    """That of the iterations that are gone says nothing."""
    folder = RunFolder(tmp_path)
    write_state(folder, RunState(figures=RunFigures(loss=0.25, best=best_at(10))))
    record = RunRecord(folder, read_state(folder))

    RunProgress(record, 100, None).begin(0, restored=False)
    record.flush(10)

    figures = read_state(folder).figures
    assert (figures.loss, figures.best) == (None, None)


def test_a_new_attempt_has_no_concern_yet(tmp_path):
    """That of the one before has ended with it; the best rate stays."""
    folder = RunFolder(tmp_path)
    write_state(folder, RunState(concern="slow", fastest_iteration_s={"step": 1.0}))

    state = Attempt(folder).state()

    assert (state.concern, state.fastest_iteration_s) == ("", {"step": 1.0})


def test_an_attempt_says_where_it_runs_and_what_it_reads(tmp_path):
    """Reports name the GPU and the fingerprints of the data."""
    folder = RunFolder(tmp_path)
    write_state(folder, RunState())
    attempt = Attempt(folder)

    attempt.progress.environment({"gpu": "NVIDIA H200"}, {"volume fib25/raw": "a1 0/0/0"})
    attempt.progress.environment({"gpu": "none"}, {})

    attempt.record.flush(10)
    events = [each for each in json_lines(folder.events) if each["event"] == "environment"]
    assert [each["gpu"] for each in events] == ["NVIDIA H200", ""]
    assert [each["volumes"] for each in events] == [{"fib25/raw": "a1 0/0/0"}, {}]
    assert {each["node"] for each in events} == {socket.gethostname()}

"""Experiments to report on, and a browser to look at reports."""

from __future__ import annotations

from pathlib import Path

import pytest

from launcher.experiment.experiment_folder import ExperimentFolder
from tests.launcher.report.made_runs import (
    attempt,
    falling,
    make_run,
    write_events,
    write_snapshot,
)

RATE, WIDTH = "trainer.learning_rate", "architecture.num_features"


@pytest.fixture
def experiment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ExperimentFolder:
    """Three runs: the best, which was preempted once; one without pictures; one that failed."""
    monkeypatch.chdir(tmp_path)
    experiment = ExperimentFolder(tmp_path / "experiments" / "sweep")
    best = make_run(
        experiment,
        "rate-0.002",
        overrides={RATE: 0.002, WIDTH: 8},
        rows=falling(100, end=0.3),
        attempts={"preempted": 1, "finished": 1},
    )
    write_events(
        best,
        *attempt(0, began_h=0, took_h=2, first=0, done=60, saved=40, cause="preempted"),
        *attempt(1, began_h=3, took_h=1, first=40, done=100, saved=100, cause="finished"),
    )
    write_snapshot(best, 50)
    write_snapshot(best, 100)
    make_run(
        experiment,
        "rate-0.01",
        overrides={RATE: 0.01, WIDTH: 8},
        rows=falling(100, end=0.4, seed=1),
        attempts={"finished": 1},
    )
    failed = make_run(
        experiment,
        "rate-0.1",
        overrides={RATE: 0.1, WIDTH: 16},
        rows=falling(30, end=0.9, seed=2),
        status="failed",
        iteration=30,
        attempts={"crashed": 1},
        reason="exit code 1: </script><b>& so on</b>",
    )
    write_events(
        failed,
        *attempt(
            0, began_h=0, took_h=1, first=0, done=30, saved=0, cause="crashed", reason="<b>1</b>"
        ),
    )
    return experiment

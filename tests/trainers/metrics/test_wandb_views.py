"""Dashboards and reports at W&B, made by its real client."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.wandb_server import ENTITY, WandbServer
from tests.trainers.metrics.conftest import API_KEY
from trainers.metrics.gpu_usage import GpuUsage
from trainers.metrics.process_usage import process_usage
from trainers.metrics.system_metrics import _Counters, _gpu_metrics, _process_metrics
from trainers.metrics.wandb_dashboard import dashboard_view, view_key
from trainers.run.run_state import Cause
from trainers.training.train_loop import _scalars
from trainers.training_iteration_stats import TrainingIterationStats

NOW = _Counters.now(process_usage(frozenset({os.getpid()})))
STATS = TrainingIterationStats(
    iteration=0, loss=1.0, learning_rate=0.1, time=1.0, data_wait=0.0, data_hit_rate=1.0
)
GOLDEN = Path(__file__).with_name("dashboard.json")
REPORT = {
    "project": "cells",
    "title": "rates, 2026-11-29 17:00",
    "experiments": ["rates", "widths"],
    "columns": ["run:displayName", "config:trainer.value.learning_rate", "summary:loss"],
    "summary": "2 runs: 2 finished",
    "runs": "| run |\n| --- |\n| a |",
    "stops": "No attempt has ended early.",
}


def make(kind: str, tmp_path: Path, **request: Any) -> dict[str, Any]:
    """What the process that makes a view answers."""
    done = subprocess.run(
        [sys.executable, "-m", "trainers.metrics.wandb_views", kind],
        input=json.dumps({"entity": None, "project": "cells", **request}),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert API_KEY not in done.stdout + done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def panels_of(spec: dict[str, Any]) -> list[dict[str, Any]]:
    bank = spec["section"]["panelBankConfig"]
    return [panel for section in bank["sections"] for panel in section["panels"]]


def specification() -> dict[str, Any]:
    """The dashboard of a project, without its random ids."""
    spec: dict[str, Any] = json.loads(
        dashboard_view("lab", "cells").spec.model_dump_json(by_alias=True, exclude_none=True)
    )
    for panel in panels_of(spec):
        del panel["__id__"]
    return spec


def test_the_dashboard() -> None:
    """What W&B is told to show; after a change on purpose, write the file anew and look at it."""
    assert specification() == json.loads(GOLDEN.read_text())


def test_its_keys_are_logged() -> None:
    """Each panel is of something that runs log; metrics of validation are found by their names."""
    gpu = GpuUsage(
        name="H200", busy_percent=1.0, memory_busy_percent=1.0, memory_bytes=1, total_memory_bytes=2
    )
    system = {"cpu": 1.0, **_process_metrics(NOW, NOW), **_gpu_metrics([gpu] * 8)}
    logged = {
        *_scalars(STATS, 1, 0.1),
        *("loss_at_resume", "attempt_started", "snapshot"),  # of WandbDetails
        *(f"attempts_by_cause/{cause}" for cause in Cause),
        *(f"system/{name}" for name in system),
    }
    shown = {
        key
        for panel in panels_of(specification())
        for key in [*panel["config"].get("metrics", ()), *panel["config"].get("mediaKeys", ())]
    }

    assert shown <= logged


def test_a_dashboard_is_made_once(server: WandbServer, tmp_path: Path) -> None:
    """In a project that no run has come to yet, too; what a user has changed stays."""
    first = make("dashboard", tmp_path)
    (view,) = server.views.values()
    view["spec"] = "changed in the browser"
    second = make("dashboard", tmp_path)

    url = f"{server.url}/{ENTITY}/cells?nw={view_key(ENTITY, 'cells')}"
    assert first == {"url": url, "made": True}
    assert second == {"url": url, "made": False}
    assert server.projects == {f"{ENTITY}/cells"}
    assert server.num_saved_views == 1
    assert view["spec"] == "changed in the browser"
    assert (view["type"], view["displayName"]) == ("project-view", "launch")


def test_variables_of_the_shell(
    server: WandbServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They lead no dashboard elsewhere, as they lead no run."""
    monkeypatch.setenv("WANDB_MODE", "disabled")
    monkeypatch.setenv("WANDB_ENTITY", "another")
    monkeypatch.setenv("WANDB_PROJECT", "another")

    make("dashboard", tmp_path)

    assert server.projects == {f"{ENTITY}/cells"}


def test_a_report(server: WandbServer, tmp_path: Path) -> None:
    """It has the tables that it is given, and panels of the runs of the experiments."""
    answer = make("report", tmp_path, **REPORT)

    ((name, view),) = server.views.items()
    blocks = json.loads(view["spec"])["blocks"]
    grids = [block["metadata"] for block in blocks if block["type"] == "panel-grid"]
    texts = [block["content"] for block in blocks if block["type"] == "markdown-block"]
    assert answer == {
        "url": f"{server.url}/{ENTITY}/cells/reports/rates,-2026-11-29-17:00--view-{name}"
    }
    assert texts == [REPORT["summary"], REPORT["runs"], REPORT["stops"]]
    assert [len(grid["panelBankSectionConfig"]["panels"]) for grid in grids] == [4, 1, 2, 11]
    for grid in grids:
        (runs,) = grid["runSets"]
        (group,) = runs["filters"]["filters"]
        assert (group["key"]["name"], group["value"]) == ("group", REPORT["experiments"])


def test_a_server_that_refuses(server: WandbServer, tmp_path: Path) -> None:
    """The answer is a sentence."""
    server.fault = lambda operation: 403 if operation == "UpsertView2" else None

    assert "may not write to the W&B project (403)" in make("dashboard", tmp_path)["problem"]


def test_no_key(server: WandbServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is asked for one."""
    monkeypatch.delenv("WANDB_API_KEY")

    assert "wandb login" in make("dashboard", tmp_path)["problem"]

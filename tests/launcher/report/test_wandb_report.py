"""`launch report --wandb`: reports at W&B, by its real client."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from launcher import cli, exit_codes
from launcher.experiment.experiment_folder import ExperimentFolder
from launcher.report.results import read_results
from launcher.report.wandb_report import stops_markdown
from tests.fakes.wandb_server import ENTITY, WandbServer
from tests.launcher.report.made_runs import attempt, falling, make_run, write_events

RATE = "trainer.learning_rate"
API_KEY = "1234567890abcdef" * 2 + "12345678"


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WandbServer]:
    server = WandbServer()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("WANDB_API_KEY", API_KEY)
    monkeypatch.setenv("WANDB_BASE_URL", server.url)
    yield server
    server.close()


@pytest.fixture
def online(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ExperimentFolder:
    """Two runs at W&B, the better of which was stopped twice."""
    monkeypatch.chdir(tmp_path)
    experiment = ExperimentFolder(tmp_path / "experiments" / "rates")
    at_wandb = {"wandb.mode": "online", "wandb.project": "cells"}
    better = make_run(
        experiment, "rate-0.002", overrides={RATE: 0.002, **at_wandb}, rows=falling(100, end=0.3)
    )
    write_events(
        better,
        *attempt(0, began_h=0, took_h=2, first=0, done=60, saved=40, cause="preempted"),
        *attempt(1, began_h=3, took_h=1, first=40, done=70, saved=65, cause="preempted"),
        *attempt(2, began_h=5, took_h=1, first=65, done=100, saved=100, cause="finished"),
    )
    make_run(experiment, "rate-0.1", overrides={RATE: 0.1, **at_wandb}, rows=falling(100, end=0.9))
    return experiment


def test_a_report(
    server: WandbServer, online: ExperimentFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    """It has the runs with swept values, the best first, and why they stopped."""
    assert cli.main(["report", "rates", "--wandb", "--json"]) == exit_codes.OK

    ((name, view),) = server.views.items()
    answer = json.loads(capsys.readouterr().out)
    assert answer["runs"] == 2
    assert answer["url"].startswith(f"{server.url}/{ENTITY}/cells/reports/rates,")
    assert answer["url"].endswith(name)
    blocks = json.loads(view["spec"])["blocks"]
    summary, runs, stops = (
        block["content"] for block in blocks if block["type"] == "markdown-block"
    )
    assert "Best run: **rate-0.002**, loss 0.3" in summary
    header, _, first, second = runs.splitlines()
    assert "| learning\\_rate |" in header
    assert first.startswith("| rate-0.002 | finished |")
    assert "| 0.1 |" in second
    assert "| preempted | 2 | 1 | 25 |" in stops
    grid = next(block["metadata"] for block in blocks if block["type"] == "panel-grid")
    columns = grid["runSets"][0]["runFeed"]["columnPinned"]
    assert columns[f"config:{RATE.replace('.', '.value.')}"]


def test_no_stops(online: ExperimentFolder) -> None:
    assert stops_markdown(read_results([online.run("rate-0.1")])) == ("No attempt has ended early.")


def test_runs_that_are_not_at_wandb(
    server: WandbServer, experiment: ExperimentFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    """The message says what they are set to, and what to do."""
    assert cli.main(["report", "sweep", "--wandb"]) == exit_codes.UNUSABLE

    assert "no run is at W&B: found wandb.mode disabled" in capsys.readouterr().err
    assert server.views == {}


def test_a_server_that_is_away(
    server: WandbServer, online: ExperimentFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    """One sentence."""
    server.close()

    assert cli.main(["report", "rates", "--wandb"]) == exit_codes.UNUSABLE

    assert "W&B " in capsys.readouterr().err

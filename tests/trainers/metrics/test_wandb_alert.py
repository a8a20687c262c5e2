"""Alerts by W&B's real client."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from tests.fakes.wandb_server import ENTITY, ServedRun, WandbServer
from tests.trainers.metrics.runs import RUN_ID


def send(**fields: Any) -> subprocess.CompletedProcess[str]:
    alert = {"entity": "team", "project": "tests", "run_id": RUN_ID, "level": "failure"}
    return subprocess.run(
        [sys.executable, "-m", "trainers.metrics.wandb_alert"],
        input=json.dumps({**alert, "title": "fib25: run a failed", "text": "why\n", **fields}),
        capture_output=True,
        text=True,
    )


@pytest.fixture
def ended_run(server: WandbServer) -> ServedRun:
    """A run that W&B shows as finished."""
    server.runs[RUN_ID] = ServedRun(RUN_ID, "tests", state="finished")
    return server.runs[RUN_ID]


def test_an_alert(server: WandbServer, ended_run: ServedRun) -> None:
    """It arrives, and the run is shown as before."""
    done = send()

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert server.alerts == [
        {
            "entityName": "team",
            "projectName": "tests",
            "runName": RUN_ID,
            "title": "fib25: run a failed",
            "text": "why\n",
            "severity": "ERROR",
            "waitDuration": 0,
        }
    ]
    assert ended_run.state == "finished"
    assert "UpsertBucket" not in server.asked


def test_a_long_title_of_the_default_entity(server: WandbServer, ended_run: ServedRun) -> None:
    """W&B takes titles of less than 64 characters, and wants the name of the entity."""
    assert send(title="a" * 70, entity=None).returncode == 0

    (alert,) = server.alerts
    assert alert["title"] == "a" * 62 + "…"
    assert alert["entityName"] == ENTITY


def test_an_alert_that_is_refused(server: WandbServer) -> None:
    """W&B does not know the run: its words, in one line."""
    done = send()

    assert done.returncode == 1
    assert done.stderr == "WandbApiFailedError: run not found\n"


def test_no_key(server: WandbServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is asked for one."""
    monkeypatch.delenv("WANDB_API_KEY")

    done = send()

    assert done.returncode == 1
    assert "there is no API key of W&B" in done.stderr
    assert len(done.stderr.splitlines()) == 1

"""Submissions make a dashboard in a W&B project, and do without one."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from launcher import exit_codes
from launcher.submission import dashboards
from tests.fakes.wandb_server import ENTITY, WandbServer
from tests.launcher.workplace import Workplace

API_KEY = "1234567890abcdef" * 2 + "12345678"
ONLINE = ("wandb.mode=online", "wandb.project=cells")


@pytest.fixture(autouse=True)
def credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("WANDB_API_KEY", API_KEY)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")  # a port that is closed


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[WandbServer]:
    server = WandbServer()
    monkeypatch.setenv("WANDB_BASE_URL", server.url)
    yield server
    server.close()


class Absent:
    """A package that is not installed."""

    def __init__(self, name: str) -> None:
        self._name = name

    def find_spec(self, name: str, *_: object) -> ModuleSpec | None:
        if name.partition(".")[0] == self._name:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return None


def test_the_first_submission_makes_it(workplace: Workplace, server: WandbServer) -> None:
    """A second one changes nothing; after one from elsewhere it is found. No file has the key."""
    assert workplace.submit(*ONLINE) == exit_codes.OK
    url = next(iter(json.loads(workplace.experiment.dashboards.read_bytes()).values()))
    assert f"dashboard of the W&B project cells: {url}" in workplace.out
    workplace.wait()
    num_asked = server.asked.count("View")

    workplace.submit(*ONLINE, "--json")
    assert json.loads(workplace.out)["dashboards"] == [
        {"project": "cells", "url": url, "problem": ""}
    ]
    assert server.asked.count("View") == num_asked

    workplace.experiment.dashboards.unlink()
    workplace.submit(*ONLINE)
    assert url in workplace.out
    assert server.num_saved_views == 1
    assert f"/{ENTITY}/cells?nw=" in url
    for path in workplace.experiment.path.rglob("*"):
        assert not path.is_file() or API_KEY.encode() not in path.read_bytes(), path


@pytest.mark.parametrize(
    "overrides",
    [
        ("wandb.mode=offline", "wandb.project=cells"),
        (*ONLINE, "wandb.dashboard=false"),
        (*ONLINE, "--dry-run"),
    ],
)
def test_none_is_asked_for(
    workplace: Workplace, server: WandbServer, overrides: tuple[str, ...]
) -> None:
    """Offline, if it is turned off, and where nothing is submitted."""
    workplace.submit(*overrides)

    assert "dashboard" not in workplace.out + workplace.err
    assert server.views == {}


def test_without_a_connection(workplace: Workplace) -> None:
    """The jobs are submitted all the same, and one sentence says what was left out."""
    assert workplace.submit(*ONLINE) == exit_codes.OK

    assert "started in the background" in workplace.out
    assert "no dashboard in the W&B project cells: W&B " in workplace.out
    assert not workplace.experiment.dashboards.exists()


def test_a_server_that_does_not_answer(
    workplace: Workplace, server: WandbServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The submission waits for some time, and no longer."""
    monkeypatch.setattr(dashboards, "TIMEOUT_S", 0.2)
    server.fault = lambda operation: "stall"

    assert workplace.submit(*ONLINE) == exit_codes.OK

    assert "cells: W&B does not answer within 0.2 s. The runs do not need it" in workplace.out


def test_without_the_extra(
    workplace: Workplace, server: WandbServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sentence says how to install it."""
    monkeypatch.setattr(sys, "meta_path", [Absent("wandb_workspaces"), *sys.meta_path])
    for name in [each for each in sys.modules if each.startswith("wandb_workspaces")]:
        monkeypatch.delitem(sys.modules, name)

    assert workplace.submit(*ONLINE) == exit_codes.OK

    assert "wandb-workspaces is not installed here; `pip install" in workplace.out
    assert server.views == {}

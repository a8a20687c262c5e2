"""`launch profile`: where the time of an iteration goes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from launcher.cli import main
from launcher.monitor.stream_profile import advice, profile_text
from scripts.workloads.checkout import EXAMPLE


def found(**changes: Any) -> dict[str, Any]:
    return {
        "device": "cpu",
        "cores": 8,
        "num_workers": 2,
        "batch_size": 4,
        "step_s": 0.1,
        "data_wait_s": 0.05,
        "iteration_s": 0.15,
        "data_hit_rate": 0.25,
        "data_queue_depth": 0.5,
        "sample_s": 0.1,
        "nodes_s": {"TensorStoreSource": 0.07, "SpatialAugment": 0.03},
        **changes,
    }


@pytest.mark.parametrize(
    ("changes", "advised"),
    [
        ({"data_wait_s": 0.001}, "does not wait for data"),
        ({}, "set trainer.num_data_fetchers: 4 (now 2)."),
        ({"cores": 4}, "resources.cpus to 5 (this process has 4); or let more decoded chunks"),
        ({"num_workers": 4}, "despite enough workers: let more decoded chunks stay in memory"),
        ({"num_workers": 4, "nodes_s": {"MyBlur": 0.1}}, "look at what MyBlur does"),
    ],
)
def test_what_would_help(changes: dict[str, Any], advised: str) -> None:
    """More workers, if they are too few for the step; else, what takes longest."""
    assert advised in advice(found(**changes))


def test_the_parts_are_listed_by_what_they_take() -> None:
    """Of the iteration, and of a sample."""
    text = profile_text(found()).splitlines()

    assert text[0] == (
        "an iteration on cpu takes 150.0 ms: step 100.0 ms, waiting for data 50.0 ms (33.3%)"
    )
    assert text[1].startswith("prefetch hit rate 25%, 0.5")
    assert [line.split()[0] for line in text[3:5]] == ["TensorStoreSource", "SpatialAugment"]
    assert text[3].split()[1:] == ["70.0", "ms", "70%"]


@pytest.mark.slow
def test_a_run_is_profiled_and_nothing_is_left(
    capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a process of its own; the folder of experiments is not touched."""
    monkeypatch.chdir(tmp_path)

    assert (
        main(
            ["profile", str(EXAMPLE), "architecture.num_features=2", "--iterations", "3", "--json"]
        )
        == 0
    )

    measured = json.loads(capfd.readouterr().out)
    assert set(measured["nodes_s"]) == {
        *("TensorStoreSource", "SpatialAugment", "RawAugment", "targets and the rest"),
    }
    assert measured["step_s"] > 0 and measured["sample_s"] > 0
    assert 0 <= measured["data_hit_rate"] <= 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_run_that_cannot_be_trained_says_why(
    capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error of the process is shown, and the exit code is that of an unusable config."""
    monkeypatch.chdir(tmp_path)

    dummy = "trainer={kind: dummy, batch_size: 1, learning_rate: 0.001, mirror_augment: true}"
    assert main(["profile", str(EXAMPLE), dummy]) == 2

    said = capfd.readouterr().err
    assert "only trainers of the kind gunpowder have a data stream" in said
    assert "could not be profiled; the reason is above" in said

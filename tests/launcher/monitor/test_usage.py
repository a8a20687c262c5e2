"""What runs have used of what they asked for."""

from __future__ import annotations

import json
from pathlib import Path

import attrs
import pytest

from launcher.cli import main
from launcher.monitor.usage import enough, read_usage, usage_table
from tests.trainers.metrics.runs import run_config
from trainers.config.config_io import write_run_config
from trainers.config.run_config import ResourcesConfig
from trainers.run.run_folder import RunFolder
from trainers.run.run_state import RunState, write_state
from trainers.run.system_record import SystemSample, SystemTotals

HALF_IDLE = SystemTotals(
    seconds=7200.0,
    cpu_s=14400.0,
    gpu_s=7200.0,
    gpu_busy_s=1800.0,
    peak_cores=3.4,
    peak_memory_gb=5.0,
    peak_gpu_memory_gb=12.0,
    gpu_memory_gb=80.0,
)


def write_run(root: Path, name: str, totals: SystemTotals | None) -> RunFolder:
    folder = RunFolder(root / "all" / "runs" / name)
    folder.path.mkdir(parents=True)
    resources = ResourcesConfig(gpus=1, cpus=8, memory_gb=64)
    config = attrs.evolve(run_config("disabled"), name=name, resources=resources)
    write_run_config(folder.config, config)
    write_state(folder, RunState())
    if totals:
        sample = SystemSample(time=1, attempt=0, node="gpu7", gpus=("NVIDIA H200",), totals=totals)
        folder.system.write_bytes(sample.line + b'{"time": 2, "att')
    return folder


def test_a_half_idle_run_could_have_had_less(tmp_path: Path) -> None:
    """Busy time of the GPU, peaks, and mean cores come from the last whole line of its figures."""
    (usage,) = read_usage([write_run(tmp_path, "first", HALF_IDLE)])

    assert attrs.asdict(usage) == {
        "name": "first",
        "experiment": "all",
        "folder": str(tmp_path / "all" / "runs" / "first"),
        "node": "gpu7",
        "gpu": "NVIDIA H200",
        "hours": 2.0,
        "gpu_busy_percent": 25.0,
        "peak_gpu_memory_gb": 12.0,
        "gpu_memory_gb": 80.0,
        "peak_memory_gb": 5.0,
        "mean_cpus": 2.0,
        "peak_cpus": 3.4,
        "resources": {"gpus": 1, "cpus": 8, "memory_gb": 64},
        "enough": {"gpus": 0.5, "cpus": 4, "memory_gb": 6},
        "problem": "",
    }


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"gpu_busy_s": 1000.0}, 0.25),
        ({"gpu_busy_s": 5000.0}, 1),
        ({"peak_gpu_memory_gb": 60.0}, 1),
        ({"gpu_s": 0.0, "gpu_busy_s": 0.0}, 1),
    ],
)
def test_a_gpu_is_shared_if_time_and_memory_allow(
    changes: dict[str, float], expected: float
) -> None:
    """A share must hold both what the run computed and what it kept in the GPU's memory."""
    found = enough(ResourcesConfig(gpus=1), attrs.evolve(HALF_IDLE, **changes))

    assert found["gpus"] == expected


def test_several_gpus_stay_several() -> None:
    """Nobody can tell from figures whether fewer ranks would do."""
    found = enough(ResourcesConfig(gpus=4, cpus=16), HALF_IDLE)

    assert (found["gpus"], found["cpus"]) == (4, 4)


def test_whole_gpus_on_several_nodes_stay_whole() -> None:
    """A config with a share on several nodes would be refused."""
    totals = SystemTotals(
        seconds=3600, gpu_s=3600, gpu_busy_s=360, gpu_memory_gb=80, peak_gpu_memory_gb=8
    )

    alone = enough(ResourcesConfig(gpus=1), totals)
    together = enough(ResourcesConfig(gpus=1, nodes=2), totals)

    assert alone and alone["gpus"] < 1
    assert together and together["gpus"] == 1


def test_a_young_run_is_not_judged() -> None:
    """Two minutes show the start-up, no training."""
    assert enough(ResourcesConfig(), attrs.evolve(HALF_IDLE, seconds=100.0)) is None


def test_a_run_without_figures_is_a_row(tmp_path: Path) -> None:
    """Runs of an earlier version, and those that have just begun, say so."""
    text = usage_table(read_usage([write_run(tmp_path, "first", None)]))

    assert "no figures yet" in text


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`launch status --usage` has a row per run, and the same as JSON."""
    write_run(tmp_path, "first", HALF_IDLE)
    write_run(tmp_path, "second", attrs.evolve(HALF_IDLE, gpu_busy_s=7000.0, peak_memory_gb=50.0))

    assert main(["status", "--usage", str(tmp_path / "all")]) == 0
    text = capsys.readouterr().out
    assert main(["status", "--usage", str(tmp_path / "all"), "--json"]) == 0
    data = json.loads(capsys.readouterr().out)

    first, second = text.splitlines()[1:3]
    assert " ".join(first.split()) == (
        "first 2.00 25 % 12.0 of 80 5.0 of 64 2.0, 3.4 of 8 gpus: 0.5, cpus: 4, memory_gb: 6"
    )
    assert second.endswith("cpus: 4, memory_gb: 60")
    assert [each["enough"]["memory_gb"] for each in data] == [6, 60]

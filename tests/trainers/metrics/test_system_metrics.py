"""What a run uses of its node."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.workloads.file_calls import compile_library
from trainers.metrics import system_metrics
from trainers.metrics.process_usage import process_usage, run_processes, visible_devices
from trainers.metrics.system_metrics import SystemMetrics
from trainers.run.record_writer import RecordWriter
from trainers.run.run_folder import RunFolder
from trainers.run.system_record import (
    SampleReader,
    SystemSample,
    SystemTotals,
    last_sample,
    parse_sample,
)

FAKES = Path(__file__).parents[2] / "fakes"
ALLOCATES = """
import sys
block = bytearray(300 * 2**20)
block[::4096] = b"x" * len(block[::4096])
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="session")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a GPU driver's NVML."""
    folder = tmp_path_factory.mktemp("driver")
    compile_library(FAKES / "nvml.c", folder).rename(folder / "libnvidia-ml.so.1")
    return folder


def sampled(folder: RunFolder, num_samples: int = 2, **environment: str) -> list[SystemSample]:
    """The samples that a process takes of itself."""
    subprocess.run(
        [sys.executable, "-m", "tests.trainers.metrics.sample", folder.path, str(num_samples)],
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environment},
    )
    return [parse_sample(line) for line in folder.system.read_bytes().splitlines()]


def test_gpus_of_the_run_have_the_names_of_wandb(folder: RunFolder, driver: Path) -> None:
    """The GPU's use, memory, temperature and power; what the driver does not tell is left out."""
    samples = sampled(folder, LD_LIBRARY_PATH=str(driver), CUDA_VISIBLE_DEVICES="GPU-fake")

    gpu = {name: value for name, value in samples[-1].metrics.items() if name.startswith("gpu.")}
    assert gpu == {
        "gpu.0.gpu": 75.0,
        "gpu.0.memory": 20.0,
        "gpu.0.memoryAllocated": 25.0,
        "gpu.0.memoryAllocatedBytes": 20 * 2**30,
        "gpu.0.temp": 61.0,
        "gpu.0.powerWatts": 350.0,
    }
    assert samples[-1].gpus == ("Fake H100",)
    totals = samples[-1].totals
    assert totals.gpu_busy_s == pytest.approx(0.75 * totals.gpu_s, abs=0.01)
    assert (totals.peak_gpu_memory_gb, totals.gpu_memory_gb) == (20.0, 80.0)


def test_processes_have_the_names_of_wandb(folder: RunFolder) -> None:
    """CPU, memory, disk and network are there without a GPU or a driver."""
    samples = sampled(folder, CUDA_VISIBLE_DEVICES="GPU-fake")

    assert set(samples[-1].metrics) == {
        "cpu",
        "proc.cpu.threads",
        "proc.memory.rssMB",
        "proc.memory.percent",
        "proc.memory.availableMB",
        "memory_percent",
        "disk.in",
        "disk.out",
        "network.sent",
        "network.recv",
    }
    assert samples[-1].totals.peak_memory_gb > 0.005
    assert samples[-1].gpus == ()


def test_a_gpu_of_others_is_not_looked_at(folder: RunFolder, driver: Path) -> None:
    """A run that was given no GPU has no figures of one."""
    samples = sampled(folder, LD_LIBRARY_PATH=str(driver), CUDA_VISIBLE_DEVICES="")

    assert not any(name.startswith("gpu.") for name in samples[-1].metrics)


def test_a_driver_that_hangs_costs_the_figures_of_gpus(folder: RunFolder, driver: Path) -> None:
    """Samples go on without the GPU, and the process ends."""
    hanging = {"LD_LIBRARY_PATH": str(driver), "FAKE_NVML_HANGS": "1"}

    samples = sampled(folder, 3, CUDA_VISIBLE_DEVICES="0", **hanging)

    assert len(samples) >= 3
    assert not any(name.startswith("gpu.") for name in samples[-1].metrics)


def test_totals_go_on_over_attempts(folder: RunFolder) -> None:
    """The next attempt adds to the totals of earlier ones, and keeps the peaks."""
    before = SystemTotals(seconds=1000.0, cpu_s=500.0, peak_memory_gb=70.0, peak_cores=3.5)
    folder.system.write_bytes(SystemSample(time=1, attempt=0, node="a", totals=before).line)

    sampled(folder)

    totals = last_sample(folder).totals
    assert totals.seconds > 1000.0
    assert totals.cpu_s > 500.0
    assert (totals.peak_memory_gb, totals.peak_cores) == (70.0, 3.5)


def test_the_file_stays_small(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """When it is full, every second line goes; the last one, with the totals, stays."""
    lines = [SystemSample(time=n, attempt=0, node="a").line for n in range(1, 100)]
    folder.system.write_bytes(b"".join(lines))
    monkeypatch.setattr(system_metrics, "MAX_BYTES", folder.system.stat().st_size - 1)

    records = RecordWriter()
    SystemMetrics(folder, records, attempt=1).close(finished=True, preempted=False)
    records.close(10.0)

    times = [parse_sample(line).time for line in folder.system.read_bytes().splitlines()]
    assert times[:-1] == list(range(1, 100, 2))
    assert times[-1] == last_sample(folder).time > 1e9


def test_a_disk_that_is_away_stops_nothing(tmp_path: Path) -> None:
    """A folder that cannot be written costs the samples."""
    records = RecordWriter()
    metrics = SystemMetrics(RunFolder(tmp_path / "away"), records, attempt=0)

    metrics.close(finished=True, preempted=False)


def test_new_samples_are_read_once(folder: RunFolder) -> None:
    """Whole lines only, each once, also after the file was thinned out."""
    reader = SampleReader(folder, after=2)
    lines = [SystemSample(time=n, attempt=0, node="a").line for n in range(1, 7)]
    folder.system.write_bytes(b"".join(lines[:4]) + lines[4][:10])
    assert [sample.time for sample in reader.read()] == [3, 4]

    thinned = folder.path / "thinned"
    thinned.write_bytes(lines[1] + lines[3] + lines[5])
    thinned.rename(folder.system)
    assert [sample.time for sample in reader.read()] == [6]
    assert reader.read() == []


def test_workers_count(folder: RunFolder) -> None:
    """Memory of the processes that a trainer has started is part of the run's."""
    before = process_usage(run_processes())
    with subprocess.Popen(
        [sys.executable, "-c", ALLOCATES], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as worker:
        assert worker.stdout.readline() == b"ready\n"
        usage = process_usage(run_processes())
        worker.stdin.close()

    assert worker.pid in usage.pids
    assert usage.memory_bytes > before.memory_bytes + 250 * 2**20


def test_ranks_on_a_node_are_one_run() -> None:
    """Siblings with the same command are ranks of the run, and their GPUs are those of the run."""
    code = (
        "import sys\n"
        "from trainers.metrics.process_usage import run_processes, visible_devices\n"
        "sys.stdin.readline()\n"
        "print(len(run_processes()), *visible_devices(run_processes()), flush=True)\n"
        "sys.stdin.read()\n"
    )
    path = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**path, "CUDA_VISIBLE_DEVICES": f"GPU-{rank}"},
        )
        for rank in range(2)
    ]
    for rank in ranks:
        rank.stdin.write(b"go\n")
        rank.stdin.flush()
    found = [rank.stdout.readline().decode().split() for rank in ranks]
    for rank in ranks:
        rank.communicate()

    assert found == [["2", "GPU-0", "GPU-1"]] * 2


def test_without_a_restriction_all_gpus_are_those_of_the_run() -> None:
    """None stands for all GPUs, and is not the same as no GPU."""
    without = {key: value for key, value in os.environ.items() if key != "CUDA_VISIBLE_DEVICES"}
    code = (
        "import os; from trainers.metrics.process_usage import visible_devices\n"
        "print(visible_devices({os.getpid()}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**without, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        check=True,
    )

    assert done.stdout == b"None\n"
    assert visible_devices(frozenset()) == ()

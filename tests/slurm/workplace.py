"""A folder with an experiment of runs that mostly sleep, submitted to the tests' own Slurm."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path
from typing import Any

from launcher.experiment.experiment_folder import ExperimentFolder
from launcher.job.pack import read_job, read_pack_events
from scripts.workloads.checkout import LAUNCH
from scripts.workloads.empty_volume import DATASET_AND_TASK, write_empty_volume
from scripts.workloads.logs import json_lines, tail
from scripts.workloads.outcome import tensors, values
from trainers.run.lease import read_lease
from trainers.run.run_folder import RunFolder
from trainers.run.run_state import read_state

NETWORK = """\
import time

import torch


class SleepingNet(torch.nn.Module):
    def __init__(self, in_channels, seconds, dropout):
        super().__init__()
        self.layers = torch.nn.Sequential(
            torch.nn.Conv3d(in_channels, 4, 1), torch.nn.Dropout(dropout), torch.nn.Conv3d(4, 1, 1)
        )
        self.seconds = seconds

    def forward(self, raw):
        time.sleep(self.seconds)
        return self.layers(raw)
"""

EXPERIMENT = (
    "name: naps\nnum_iterations: 300\n"
    + DATASET_AND_TASK
    + """\
architecture:
  kind: custom
  import_path: naps:SleepingNet
  arguments: {seconds: 0.03, dropout: 0.1}
  input_shape: [2, 2, 2]
trainer: {kind: dummy, batch_size: 4, learning_rate: 1e-2, mirror_augment: true}
checkpoint: {every_iterations: 50}
metrics: {every_iterations: 1}
resources: {gpus: 1, cpus: 1, memory_gb: 1, time: "00:30:00"}
"""
)

Result = tuple[dict[str, str], list[dict[str, Any]]]


class Workplace:
    """Where a user works with one sandbox."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.experiment = ExperimentFolder(folder / "experiments" / "naps")
        (folder / "naps.yaml").write_text(EXPERIMENT)
        (folder / "naps.py").write_text(NETWORK)
        write_empty_volume(folder / "volume.zarr")
        (folder / "cluster_configs").mkdir()
        config = "kind: slurm\ndescription: the sandbox\nenvironment: {GLOO_SOCKET_IFNAME: lo}\n"
        (folder / "cluster_configs" / "sandbox.yaml").write_text(config)

    def launch(self, *arguments: str, code: int = 0) -> str:
        """What a command prints; it must end with this exit code."""
        done = subprocess.run(
            [*LAUNCH, *arguments], cwd=self.folder, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == code, (
            f"{arguments}: {done.returncode}\n{done.stdout}{done.stderr}"
        )
        return done.stdout

    def submit(self, *arguments: str, cluster: str = "sandbox") -> dict:
        """The report of a submission."""
        words = ("submit", "naps.yaml", f"--cluster={cluster}", "--allow-invalid", "--json")
        return json.loads(self.launch(*words, *arguments))

    def run(self, name: str = "naps"):
        return self.experiment.run(name)

    def state(self, name: str = "naps"):
        return read_state(self.run(name))

    def events(self, name: str = "naps") -> list[dict]:
        return json_lines(self.run(name).events)

    def launches(self, name: str = "naps") -> int:
        return sum(event["event"] == "launched" for event in self.events(name))

    def pack(self, name: str = "naps"):
        return self.experiment.pack(self.state(name).pack)

    def job(self, name: str = "naps") -> str:
        job = read_job(self.pack(name))
        assert job is not None
        return job.job_id

    def pack_events(self, name: str = "naps") -> list[dict]:
        return list(read_pack_events(self.pack(name)))

    def trainer_pid(self, name: str = "naps") -> int:
        return read_lease(self.run(name).lease).pid

    def rank_pids(self, name: str = "naps") -> list[int]:
        """Those of the last attempt, on all nodes."""
        launched = [event for event in self.events(name) if event["event"] == "launched"]
        last = launched[-1]["attempt"]
        return [pid for each in launched if each["attempt"] == last for pid in each["pids"]]

    def supervisor_pid(self, name: str = "naps") -> int:
        return read_lease(self.pack(name).lease).pid

    def restored(self, name: str = "naps") -> list[int]:
        """The iterations that attempts went on from, but for the first attempt."""
        events = self.events(name)
        return [event["iteration"] for event in events if event["event"] == "restored"]

    def wait_for_iteration(self, iteration: int, name: str = "naps", timeout: float = 90) -> None:
        """Until the run has come so far, with a metrics row to show for it."""
        deadline = time.monotonic() + timeout
        while self.last_row(name) < iteration:
            assert time.monotonic() < deadline, self.story(name)
            time.sleep(0.05)

    def last_row(self, name: str = "naps") -> int:
        """The newest iteration in metrics.jsonl; -1 if there is none."""
        try:
            lines = self.run(name).metrics.read_bytes().splitlines()
            return json.loads(lines[-1])["iteration"] if lines else -1
        except (FileNotFoundError, ValueError):
            return -1

    def wait_for_end(self, name: str = "naps", timeout: float = 180) -> None:
        """Until the last attempt at the run is counted, and no other follows."""
        deadline = time.monotonic() + timeout
        while not (self.state(name).status.is_over and self.all_counted(name)):
            assert time.monotonic() < deadline, self.story(name)
            time.sleep(0.1)

    def all_counted(self, name: str = "naps") -> bool:
        launched = {event["attempt"] for event in self.events(name) if event["event"] == "launched"}
        return len(launched) == self.state(name).num_attempts

    def story(self, name: str = "naps") -> str:
        """All that is known about a run, for a test that fails."""
        logs = sorted(self.run(name).logs.glob("*.log")) if self.run(name).path.exists() else []
        texts = [tail(log, 1500) for log in logs]
        outputs = [tail(file) for file in self.experiment.submitit.glob("*.out")]
        events = "\n".join(map(str, self.events(name)))
        packs = "\n".join(map(str, self.pack_events(name))) if self.state(name).pack else ""
        return "\n".join([str(self.state(name)), events, packs, *texts, *outputs])


def result(run: RunFolder) -> Result:
    """Hashes of the last checkpoint's tensors, and the rows of metrics without the times."""
    return tensors(run), values(run)

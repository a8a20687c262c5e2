"""Twelve runs of unequal size, one of which crashes always, and where a user has them."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from launcher.experiment.experiment import read_experiment
from scripts.workloads.empty_volume import DATASET_AND_TASK, write_empty_volume
from trainers.config.run_config import RunConfig

NETWORK = Path(__file__).with_name("claiming_net.py")
INTERVAL = 25
"""Iterations between two checkpoints."""
CRASH_AFTER = 20

GPUS_AND_NODES = (
    (4, 1),
    (1, 2),
    (2, 1),
    (2, 1),
    (1, 1),
    (1, 1),
    (1, 1),
    (1, 1),
    (0.5, 1),
    (0.5, 1),
    (0.25, 1),
    (0.25, 1),
)
CRASHER = 6
"""Its position."""

EXPERIMENT = """\
name: storm
seed: {seed}
num_iterations: {num_iterations}
{on_empty_volume}architecture:
  kind: custom
  import_path: claiming_net:ClaimingNet
  arguments:
    seconds: {seconds}
    claims: {claims}
    crasher: ""
    crash_after: {crash_after}
  input_shape: [2, 2, 2]
trainer: {{kind: dummy, batch_size: 4, learning_rate: 1e-2, mirror_augment: true}}
checkpoint: {{every_iterations: {interval}}}
metrics: {{every_iterations: 1}}
retries: {{crashed: {crashes}, node_failure: null, out_of_memory: null, without_progress: 100}}
sweep:
  resources:
{sizes}
"""
CLUSTER = "kind: slurm\ndescription: the sandbox\nenvironment: {GLOO_SOCKET_IFNAME: lo}\n"


class UnequalRuns:
    """An experiment of them in a folder of its own.

    Args:
        seconds: About so long takes an iteration.
        crashes: How often a run may crash.
    """

    def __init__(
        self, folder: Path, *, num_iterations: int, seconds: float, crashes: int, seed: int = 0
    ) -> None:
        self.folder = folder
        self.crashes = crashes
        self.file = folder / "storm.yaml"
        self.claims = folder / "claims"
        self.claims.mkdir(parents=True)
        sizes = [_size(gpus, nodes, number) for number, (gpus, nodes) in enumerate(GPUS_AND_NODES)]
        text = EXPERIMENT.format(
            on_empty_volume=DATASET_AND_TASK,
            seed=seed,
            num_iterations=num_iterations,
            seconds=seconds,
            claims=self.claims,
            crash_after=CRASH_AFTER,
            interval=INTERVAL,
            crashes=crashes,
            sizes="\n".join(f"    - {size}" for size in sizes),
        )
        self.file.write_text(text)
        shutil.copy(NETWORK, folder)
        write_empty_volume(folder / "volume.zarr")
        (folder / "cluster_configs").mkdir()
        (folder / "cluster_configs" / "sandbox.yaml").write_text(CLUSTER)
        names = [config.name for config in self.configs()]
        self.crasher = names[CRASHER]
        self.others = [name for name in names if name != self.crasher]

    @property
    def overrides(self) -> list[str]:
        return [f"architecture.arguments.crasher={self.crasher}"]

    def configs(self, overrides: Sequence[str] = ()) -> tuple[RunConfig, ...]:
        return read_experiment(self.file, overrides).runs


def _size(gpus: float, nodes: int, number: int) -> str:
    """Of a memory that no other run has, since names are made of sizes."""
    cpus = max(1, int(gpus))
    return (
        f"{{gpus: {gpus}, nodes: {nodes}, cpus: {cpus}, memory_gb: {number + 1}, time: '00:30:00'}}"
    )

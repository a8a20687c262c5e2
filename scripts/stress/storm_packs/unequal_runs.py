"""Twelve runs of unequal size, one of which crashes always, and two that read volumes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from launcher.experiment.experiment import read_experiment
from scripts.workloads.empty_volume import DATASET_AND_TASK, write_array, write_empty_volume
from trainers.config.run_config import RunConfig

PARTS = tuple(Path(__file__).with_name(name) for name in ("claiming_net.py", "worker_augment.py"))
"""Modules of the user."""
CLUSTER = {"kind": "slurm", "description": "the sandbox"}
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
name: {name}
seed: {seed}
num_iterations: {num_iterations}
{data}architecture:
  kind: custom
  import_path: claiming_net:ClaimingNet
  arguments:
    seconds: {seconds}
    claims: {claims}
    crasher: ""
    crash_after: {crash_after}
  input_shape: [2, 2, 2]
trainer: {trainer}
checkpoint: {{every_iterations: {interval}}}
metrics: {{every_iterations: 1}}
retries:
  {{crashed: {crashes}, node_failure: null, out_of_memory: null, unavailable: null, hang: null,
    without_progress: 100}}
sweep:
  resources:
{sizes}
"""
NOISE = "{kind: dummy, batch_size: 4, learning_rate: 1e-2, mirror_augment: true}"
CROPS = """\
{kind: gunpowder, batch_size: 4, learning_rate: 1e-2, num_data_fetchers: 2,
  snapshot_interval: null, reading: {cache_gb: 0},
  augments: [{kind: custom, import_path: "worker_augment:WorkerAugment"}]}"""
"""Chunks are read again and again, in workers that are processes."""
VOLUMES = """\
datasets:
  - name: disk
    raw: {{path: {folder}/volume.zarr, array: raw}}
    gt: {{path: {folder}/volume.zarr, array: labels}}
  - name: server
    raw: {{path: "{url}/volume.zarr", array: raw}}
    gt: {{path: "{url}/volume.zarr", array: labels}}
task: {{kind: affinities, neighborhood: [[1, 0, 0]]}}
"""
READERS_GPUS = (1, 2)
VOLUME_SIDE, CHUNK_SIDE = 64, 16


class UnequalRuns:
    """An experiment of them in a folder of its own.

    Args:
        seconds: About so long takes an iteration.
        crashes: How often a run may crash.
        environment: Of the jobs.
        url: Where a server has what lies in `data`; with it the runs that read are there too, as
            an experiment of their own.
    """

    def __init__(
        self,
        folder: Path,
        *,
        num_iterations: int,
        seconds: float,
        crashes: int,
        seed: int = 0,
        environment: Mapping[str, str] | None = None,
        url: str = "",
    ) -> None:
        self.folder = folder
        self.crashes = crashes
        self.claims = folder / "claims"
        self.claims.mkdir(parents=True)
        self.data = folder / "data"
        settings = {
            "seed": seed,
            "num_iterations": num_iterations,
            "seconds": seconds,
            "claims": self.claims,
            "crash_after": CRASH_AFTER,
            "interval": INTERVAL,
            "crashes": crashes,
        }
        sizes = [_size(gpus, nodes, number) for number, (gpus, nodes) in enumerate(GPUS_AND_NODES)]
        self.file = folder / "storm.yaml"
        self.file.write_text(
            EXPERIMENT.format(
                name="storm", data=DATASET_AND_TASK, trainer=NOISE, sizes=_lines(sizes), **settings
            )
        )
        write_empty_volume(folder / "volume.zarr")
        self.reading_file = folder / "reading.yaml" if url else None
        if self.reading_file:
            _write_volume(self.data / "volume.zarr")
            volumes = VOLUMES.format(folder=self.data, url=url)
            sizes = [_size(gpus, 1, len(sizes) + gpus) for gpus in READERS_GPUS]
            self.reading_file.write_text(
                EXPERIMENT.format(
                    name="reading", data=volumes, trainer=CROPS, sizes=_lines(sizes), **settings
                )
            )
        for part in PARTS:
            shutil.copy(part, folder)
        (folder / "cluster_configs").mkdir()
        cluster = CLUSTER | {"environment": {"GLOO_SOCKET_IFNAME": "lo", **(environment or {})}}
        (folder / "cluster_configs" / "sandbox.yaml").write_text(json.dumps(cluster))
        names = [config.name for config in read_experiment(self.file).runs]
        self.crasher = names[CRASHER]
        self.readers = [config.name for config in self.configs() if config.name not in names]
        self.others = [config.name for config in self.configs() if config.name != self.crasher]

    @property
    def files(self) -> list[Path]:
        return [self.file, self.reading_file] if self.reading_file else [self.file]

    @property
    def overrides(self) -> list[str]:
        return [f"architecture.arguments.crasher={self.crasher}"]

    def configs(self, overrides: Sequence[str] = ()) -> list[RunConfig]:
        return [run for file in self.files for run in read_experiment(file, overrides).runs]

    def broken_node(self, node: str) -> Path:
        """The file that makes attempts which begin on a node find no GPU."""
        return self.claims / f"broken {node}"


def _size(gpus: float, nodes: int, number: int) -> str:
    """Of a memory that no other run has, since names are made of sizes."""
    cpus = max(1, int(gpus))
    return (
        f"{{gpus: {gpus}, nodes: {nodes}, cpus: {cpus}, memory_gb: {number + 1}, time: '00:30:00'}}"
    )


def _lines(sizes: Sequence[str]) -> str:
    return "\n".join(f"    - {size}" for size in sizes)


def _write_volume(folder: Path) -> None:
    """Noise in many small chunks, all of them stored."""
    noise = np.random.default_rng(0)
    for name, dtype, end in (("raw", "|u1", 256), ("labels", "<u8", 9)):
        values = noise.integers(1, end, (VOLUME_SIDE,) * 3).astype(dtype)
        write_array(folder / name, dtype, VOLUME_SIDE, CHUNK_SIDE)
        for corner in np.ndindex((VOLUME_SIDE // CHUNK_SIDE,) * 3):
            part = tuple(slice(CHUNK_SIDE * each, CHUNK_SIDE * (each + 1)) for each in corner)
            (folder / name / ".".join(map(str, corner))).write_bytes(values[part].tobytes())

"""Which files of the project a submission enters, and which a step with its checkpoint."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from scripts.workloads.empty_volume import DATASET_AND_TASK, NETWORK_AND_TRAINER, write_empty_volume

TRACER = Path(__file__).with_name("tracer.py")
EXPERIMENT = (
    "name: traced\nnum_iterations: 1\n"
    + DATASET_AND_TASK
    + NETWORK_AND_TRAINER
    + """\
metrics: {every_iterations: 1}
resources: {gpus: 0, cpus: 1}
"""
)
CLUSTER = "kind: local\ndescription: one slot\ngpus: 0\ncpus: 1\n"
ON_THE_SAMPLE = {
    "num_iterations": 1,
    "architecture": {
        "kind": "custom",
        "import_path": "torch.nn:Conv3d",
        "arguments": {"out_channels": 3, "kernel_size": 1},
        "input_shape": [16, 16, 16],
    },
    "trainer.num_data_fetchers": 0,
    "trainer.snapshot_interval": None,
    "metrics.every_iterations": 1,
    "wandb.mode": "disabled",
    "sweep": None,
}
CHECKPOINT = "checkpoints/iteration-[0-9]*[0-9]/manifest.json"
ENDED = ("finished", "failed", "cancelled")
PATIENCE_S = 120


class Project:
    """A checkout whose programs run with a folder of their own."""

    def __init__(self, root: Path, folder: Path) -> None:
        self._root = root
        self._folder = folder
        (folder / "traced.yaml").write_text(EXPERIMENT)
        (folder / "cluster.yaml").write_text(CLUSTER)
        write_empty_volume(folder / "volume.zarr")
        scripts = tomllib.loads((root / "pyproject.toml").read_text())["project"]["scripts"]
        self._launch = scripts["launch"]
        self._environment = {
            **os.environ,
            "PYTHONPATH": str(root),
            "LAUNCH_SLOTS_DIR": str(folder / "slots"),
            "OMP_NUM_THREADS": "1",
        }

    def submission(self, *options: str) -> set[str]:
        """Of `launch submit`, from its `main` to its end; what it starts is not traced."""
        words = ("submit", "traced.yaml", "--cluster=cluster.yaml", "--allow-invalid", *options)
        return self._traced("main", "", self._launch, *words)[0]

    def saved_step(self, run: Path) -> tuple[set[str], set[str]]:
        """Of `python -m trainers`, from its first `iterate`: until the checkpoint is there, and
        until the process ends."""
        before, after = self._traced(
            "iterate", str(run / CHECKPOINT).lstrip("/"), "trainers", str(run)
        )
        return before, before | after

    def planned_run(self, root: str, *overrides: str, experiment: str = "traced.yaml") -> Path:
        """A folder with the config of a run that has been submitted, to train it here once more."""
        words = (experiment, "--cluster=cluster.yaml", "--allow-invalid", f"--root={root}")
        self._run([*self._program(), "submit", *words, *overrides])
        (run,) = (self._folder / root).glob("*/runs/*")
        self._wait_for_end(run)
        planned = self._folder / f"{root}-again"
        planned.mkdir()
        (planned / "logs").mkdir()
        (planned / "config.yaml").write_bytes((run / "config.yaml").read_bytes())
        return planned

    def wait_for_end_of(self, root: str) -> None:
        for run in (self._folder / root).glob("*/runs/*"):
            self._wait_for_end(run)

    def _program(self) -> list[str]:
        module, _, function = self._launch.partition(":")
        code = f"import sys; from {module} import {function}; sys.exit({function}())"
        return [sys.executable, "-P", "-c", code]

    def _traced(
        self, begin: str, until: str, target: str, *arguments: str
    ) -> tuple[set[str], set[str]]:
        notes = self._folder / "notes.txt"
        notes.write_text("")
        command = [sys.executable, "-P", str(TRACER), str(notes), str(self._root)]
        self._run([*command, begin, until, target, *arguments])
        found: dict[str, set[str]] = {"before": set(), "after": set()}
        for line in notes.read_text().splitlines():
            phase, _, file = line.partition(" ")
            found[phase].add(file)
        return found["before"], found["after"]

    def _run(self, command: list[str]) -> None:
        done = subprocess.run(
            command, cwd=self._folder, env=self._environment, capture_output=True, text=True
        )
        if done.returncode:
            raise RuntimeError(f"{command}: {done.returncode}\n{done.stdout}{done.stderr}")

    def _wait_for_end(self, run: Path) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while _status(run) not in ENDED:
            if time.monotonic() > deadline:
                raise RuntimeError(f"{run}: {_status(run)!r} after {PATIENCE_S} s")
            time.sleep(0.2)


def trace(root: Path) -> dict[str, list[str]]:
    """The files, by what enters them."""
    with _project(root) as project:
        found = {"submission, --dry-run": project.submission("--dry-run", "--root=dry")}
        found["submission"] = project.submission("--root=real")
        project.wait_for_end_of("real")
        example = str(root / "examples" / "fib25.yaml")
        overrides = [f"{key}={json.dumps(value)}" for key, value in ON_THE_SAMPLE.items()]
        for trainer, run in {
            "dummy": project.planned_run("dummy"),
            "gunpowder": project.planned_run("sample", *overrides, experiment=example),
        }.items():
            until_saved, until_end = project.saved_step(run)
            found[f"saved step, {trainer}"] = until_saved
            found[f"saved step and end of process, {trainer}"] = until_end
    return {what: sorted(files) for what, files in found.items()}


@contextmanager
def _project(root: Path) -> Iterator[Project]:
    with tempfile.TemporaryDirectory(
        prefix="show-structure-", ignore_cleanup_errors=True
    ) as folder:
        yield Project(root, Path(folder))


def _status(run: Path) -> Any:
    try:
        return json.loads((run / "state.json").read_text())["status"]
    except (FileNotFoundError, ValueError):
        return None

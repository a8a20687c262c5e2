"""Run folders as training leaves them, in no time: for commands that only read them."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from launcher.experiment.experiment import read_experiment
from launcher.experiment.experiment_folder import ExperimentFolder
from scripts.workloads.checkout import EXAMPLE
from trainers.config.config_io import write_run_config
from trainers.run.run_folder import RunFolder
from trainers.run.run_state import RunState, Status, write_state
from trainers.snapshots import SnapshotWriter

HOUR = 3600.0
BEGAN = 1_700_000_000.0
GPUS = [["GPU-a"]]


def make_run(
    experiment: ExperimentFolder,
    name: str,
    *,
    overrides: Mapping[str, Any] | None = None,
    rows: Iterable[Mapping[str, Any]] = (),
    num_iterations: int = 100,
    **state: Any,
) -> RunFolder:
    """A run with a config, rows of metrics and a state, by default a finished one."""
    folder = experiment.run(name)
    folder.path.mkdir(parents=True)
    changes = {"num_iterations": num_iterations, "wandb.mode": "disabled", **(overrides or {})}
    texts = [f"{key}={json.dumps(value)}" for key, value in changes.items()]
    (config,) = read_experiment(EXAMPLE, texts).runs
    write_run_config(folder.config, config)
    folder.metrics.write_text("".join(json.dumps(row) + "\n" for row in rows))
    defaults = {"status": Status.FINISHED, "iteration": num_iterations}
    write_state(folder, RunState(**{**defaults, "num_iterations": num_iterations, **state}))
    return folder


def falling(num_rows: int, *, end: float = 0.5, seed: int = 0, **more: float) -> list[dict]:
    """Rows whose loss falls from 1 to a value, with noise."""
    noise = random.Random(seed)
    rows = []
    for iteration in range(num_rows):
        loss = end + (1 - end) * math.exp(-5 * iteration / num_rows) + noise.uniform(-0.02, 0.02)
        rows.append({"iteration": iteration, "loss": loss, "learning_rate": 1e-3, **more})
    return rows


def write_events(folder: RunFolder, *events: Mapping[str, Any]) -> None:
    folder.events.write_text("".join(json.dumps(event) + "\n" for event in events))


def attempt(
    number: int,
    *,
    began_h: float,
    took_h: float,
    first: int,
    done: int,
    saved: int,
    cause: str,
    reason: str = "",
    gpus: list[list[str]] = GPUS,
) -> list[dict[str, Any]]:
    """The events of an attempt that was counted; times are in hours since BEGAN."""
    began, ended = BEGAN + HOUR * began_h, BEGAN + HOUR * (began_h + took_h)
    return [
        {"time": began, "event": "launched", "attempt": number, "node": "node-1", "gpus": gpus},
        {"time": began + 1, "event": "started" if first == 0 else "restored", "iteration": first},
        {
            "time": ended,
            "event": "ended",
            "attempt": number,
            "cause": cause,
            "reason": reason,
            "iteration": done,
            "saved": saved,
        },
    ]


def write_snapshot(folder: RunFolder, iteration: int, *, side: int = 40, seed: int = 0) -> Path:
    """A snapshot of noise, which is the largest that there is."""
    noise = np.random.default_rng(seed).random((3, side, side, side), "float32")
    inner = noise[:, 8:-8, 8:-8, 8:-8]
    arrays = {
        "raw": noise[:1],
        "gt": (inner[0] * 9).astype("uint64"),
        "target": (inner > 0.5).astype("float32"),
        "prediction": inner,
    }
    border = (64.0, 64.0, 64.0)
    offsets = {name: (0.0, 0.0, 0.0) if name == "raw" else border for name in arrays}
    writer = SnapshotWriter(folder.snapshots)
    writer.submit(iteration, arrays, voxel_size_nm=(8.0, 8.0, 8.0), offsets_nm=offsets)
    writer.close()
    return folder.snapshots / str(iteration)

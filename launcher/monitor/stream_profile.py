"""Where the time of an iteration goes, and which setting would help."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from launcher.errors import LauncherError
from trainers.config.config_io import write_run_config
from trainers.config.run_config import RunConfig

_ENOUGH = 0.02
"""A part of the time that is not worth a change."""
_REMEDIES = {
    "TensorStoreSource": "let more decoded chunks stay in memory (trainer.reading.cache_gb, and "
    "resources.memory_gb for it), or store the volumes in smaller chunks, about the size of the "
    "crops or less, and with a quicker codec",
    "SpatialAugment": "take a smaller input_shape: every voxel of it is interpolated",
    "RawAugment": "leave out augments of raw that take long, noise above all",
    "targets and the rest": "take a smaller neighborhood or output",
}


def profile(config: RunConfig, num_iterations: int) -> dict[str, Any]:
    """Train a run for some iterations, in a process of its own and a folder that is thrown away.

    Raises:
        LauncherError: It cannot be trained; the process has said why.
    """
    with tempfile.TemporaryDirectory(prefix="launch-profile-") as folder:
        path = Path(folder) / "config.yaml"
        write_run_config(path, config)
        done = subprocess.run(
            [sys.executable, "-m", "trainers.profile", path, "--iterations", str(num_iterations)],
            stdout=subprocess.PIPE,
            text=True,
        )
    if done.returncode:
        raise LauncherError(f"run {config.name!r} could not be profiled; the reason is above")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def profile_text(found: dict[str, Any]) -> str:
    """The parts of an iteration and of a sample, and what to do."""
    lines = [
        f"an iteration on {found['device']} takes {_ms(found['iteration_s'])}: "
        f"step {_ms(found['step_s'])}, waiting for data {_ms(found['data_wait_s'])} "
        f"({found['data_wait_s'] / found['iteration_s']:.1%})",
    ]
    if found["data_hit_rate"] is not None:
        lines.append(
            f"{found['data_hit_rate']:.0%} of the samples were ready when they were asked for, "
            f"with {found['data_queue_depth']:.1f} ready on average"
        )
    lines.append(
        f"a sample takes {_ms(found['sample_s'])} of one thread; "
        f"{found['num_workers']} make them, for a batch of {found['batch_size']}:"
    )
    for name, seconds in sorted(found["nodes_s"].items(), key=lambda each: -each[1]):
        lines.append(f"  {name:24}{_ms(seconds):>10}  {seconds / found['sample_s']:4.0%}")
    return "\n".join([*lines, advice(found)])


def advice(found: dict[str, Any]) -> str:
    """What would shorten the iterations, as far as data are the reason."""
    if found["data_wait_s"] <= _ENOUGH * found["iteration_s"]:
        return "The training does not wait for data: only a quicker step would help."
    needed = math.ceil(found["batch_size"] * found["sample_s"] / found["step_s"])
    if needed > found["num_workers"]:
        advised = f"set trainer.num_data_fetchers: {needed}"
        if needed < found["cores"]:
            return f"Data hold up the training: {advised} (now {found['num_workers']})."
        advised += f", and resources.cpus to {needed + 1} (this process has {found['cores']})"
        return f"Data hold up the training: {advised}; or {_remedy(found)}."
    return f"Data hold up the training, in spite of enough workers: {_remedy(found)}."


def _remedy(found: dict[str, Any]) -> str:
    slowest = max(found["nodes_s"], key=found["nodes_s"].__getitem__)
    return _REMEDIES.get(slowest, f"look at what {slowest} does: it takes longest")


def _ms(seconds: float) -> str:
    return f"{1e3 * seconds:.1f} ms"

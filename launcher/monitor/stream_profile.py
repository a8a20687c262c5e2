"""Profile the iterations of a run: where the time goes, and which setting would help."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from launcher.errors import LauncherError
from launcher.os_errors import doing
from trainers.config.config_io import write_run_config
from trainers.config.run_config import RunConfig
from trainers.run.writable_folders import variables_for_caches

_NEGLIGIBLE_WAIT = 0.02
"""The share of an iteration spent waiting for data that is not worth a change."""
_REMEDIES = {
    "TensorStoreSource": "let more decoded chunks stay in memory (trainer.reading.cache_gb, and "
    "resources.memory_gb for it), or store the volumes in smaller chunks, about the size of the "
    "crops or less, and with a quicker codec",
    "SpatialAugment": "take a smaller input_shape: every voxel of it is interpolated",
    "RawAugment": "leave out augments of raw that take long, noise above all",
    "targets and the rest": "take a smaller neighborhood or output",
}


def profile(config: RunConfig, num_iterations: int) -> dict[str, Any]:
    """Train a run for some iterations, in a subprocess and a temporary folder; return its profile.

    The subprocess keeps torch out of the launcher, which runs on login nodes.

    Raises:
        LauncherError: The run cannot be trained; the subprocess has printed why.
        OSError: There is no room for temporary files.
    """
    with tempfile.TemporaryDirectory(prefix="launch-profile-") as folder:
        path = Path(folder) / "config.yaml"
        with doing("writing what to profile", path):
            write_run_config(path, config)
        done = subprocess.run(
            [sys.executable, "-m", "trainers.profile", path, "--iterations", str(num_iterations)],
            stdout=subprocess.PIPE,
            env={**os.environ, **variables_for_caches(Path(folder) / "cache")},
            text=True,
        )
    if done.returncode:
        raise LauncherError(f"run {config.name!r} could not be profiled; the reason is above")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def profile_text(found: dict[str, Any]) -> str:
    """Return the parts of an iteration and of a sample as text, with advice."""
    lines = [
        f"an iteration on {found['device']} takes {_ms(found['iteration_s'])}: "
        f"step {_ms(found['step_s'])}, waiting for data {_ms(found['data_wait_s'])} "
        f"({found['data_wait_s'] / found['iteration_s']:.1%})",
    ]
    if found["data_hit_rate"] is not None:
        lines.append(
            f"prefetch hit rate {found['data_hit_rate']:.0%}, "
            f"{found['data_queue_depth']:.1f} samples ready on average"
        )
    lines.append(
        f"a sample takes {_ms(found['sample_s'])} of one worker thread "
        f"(workers: {found['num_workers']}, batch size: {found['batch_size']}):"
    )
    for name, seconds in sorted(found["nodes_s"].items(), key=lambda each: -each[1]):
        lines.append(f"  {name:24}{_ms(seconds):>10}  {seconds / found['sample_s']:4.0%}")
    return "\n".join([*lines, advice(found)])


def advice(found: dict[str, Any]) -> str:
    """Return what would shorten the iterations, if waiting for data is the reason."""
    if found["data_wait_s"] <= _NEGLIGIBLE_WAIT * found["iteration_s"]:
        return "Training does not wait for data: only a faster step would help."
    needed = math.ceil(found["batch_size"] * found["sample_s"] / found["step_s"])
    if needed > found["num_workers"]:
        advised = f"set trainer.num_data_fetchers: {needed}"
        if needed < found["cores"]:
            return f"Training waits for data: {advised} (now {found['num_workers']})."
        advised += f", and resources.cpus to {needed + 1} (this process has {found['cores']})"
        return f"Training waits for data: {advised}; or {_remedy(found)}."
    return f"Training waits for data despite enough workers: {_remedy(found)}."


def _remedy(found: dict[str, Any]) -> str:
    slowest = max(found["nodes_s"], key=found["nodes_s"].__getitem__)
    return _REMEDIES.get(slowest, f"look at what {slowest} does: it takes longest")


def _ms(seconds: float) -> str:
    return f"{1e3 * seconds:.1f} ms"

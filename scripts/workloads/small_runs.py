"""Runs of a small network on the bundled sample, and what they have come to."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from launcher.experiment.experiment import read_experiment
from scripts.workloads.checkout import EXAMPLE
from scripts.workloads.logs import json_lines
from scripts.workloads.outcome import tensors
from trainers.config.config_io import write_run_config
from trainers.run.run_folder import RunFolder

BATCH_SIZE = 8
EVERYTHING = {
    "trainer.precision": "fp16",
    "trainer.max_gradient_norm": 0.1,
    "trainer.ema_decay": 0.8,
    "trainer.optimizer": {
        "kind": "adamw",
        "schedule": {"kind": "cosine", "iterations": 40, "warm_up_iterations": 4},
    },
    "net": {"dropout": 0.2, "gain": 5000.0},
}
"""All that has a state from one iteration to the next; at first gradients overflow."""
NET = """
import hashlib, os
import torch
from torch import nn

class Net(nn.Sequential):
    '''Notes the samples that it is given, one line each, in a file per rank.'''

    def __init__(self, in_channels, notes=None, dropout=0.0, gain=1.0):
        layers = [nn.Conv3d(in_channels, 4, 3, padding=1), nn.ReLU(), nn.Conv3d(4, 3, 1)]
        if dropout:
            layers[1:1] = [nn.BatchNorm3d(4), nn.Dropout(dropout)]
        super().__init__(*layers)
        self.notes = notes
        self.gain = gain

    def forward(self, raw):
        if self.training and self.notes:
            lines = [hashlib.sha256(each.numpy().tobytes()).hexdigest() for each in raw]
            with open(f"{self.notes}.{os.environ.get('RANK', 0)}", "a") as file:
                file.writelines(line + "\\n" for line in lines)
        return self.gain * super().forward(raw)
"""


def write_run(
    parent: Path,
    name: str,
    dotted: Mapping[str, Any] | None = None,
    *,
    net: dict[str, Any] | None = None,
    **changes: Any,
) -> RunFolder:
    """A new run folder.

    Args:
        dotted: Changes of keys, as are those by keyword.
        net: Arguments of the network.
    """
    (parent / "my_net.py").write_text(NET)
    overrides = {
        "num_iterations": 4,
        "architecture": {
            "kind": "custom",
            "import_path": "my_net:Net",
            "arguments": net or {},
            "input_shape": [16, 16, 16],
        },
        "trainer.batch_size": BATCH_SIZE,
        "trainer.num_data_fetchers": 0,
        "trainer.augments": [{"kind": "simple"}],
        "trainer.snapshot_interval": None,
        "checkpoint.every_iterations": 5,
        "metrics.every_iterations": 1,
        "wandb.mode": "disabled",
        "resources.cpus": 1,
        "python_path": [str(parent)],
        "sweep": None,
        **(dotted or {}),
        **changes,
    }
    texts = [f"{key}={json.dumps(value)}" for key, value in overrides.items()]
    (config,) = read_experiment(EXAMPLE, texts).runs
    folder = RunFolder(parent / name)
    folder.logs.mkdir(parents=True)
    write_run_config(folder.config, config)
    return folder


def losses(folder: RunFolder) -> list[float]:
    return [row["loss"] for row in json_lines(folder.metrics)]


def outcome(folder: RunFolder) -> tuple[list[tuple[int, float]], dict[str, str]]:
    """Loss of every iteration, and hashes of the tensors of the last checkpoint."""
    rows = json_lines(folder.metrics)
    return [(row["iteration"], row["loss"]) for row in rows], tensors(folder)

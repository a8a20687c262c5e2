"""What a run has come to, in a form that can be compared with another run's."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from scripts.workloads.logs import json_lines
from trainers.checkpoints.layout import MANIFEST_NAME
from trainers.run.run_folder import RunFolder

TIMES = (
    "step_time_s",
    "save_stall_s",
    "data_wait_s",
    "samples_per_second",
    "data_queue_depth",
    "data_hit_rate",
)
"""Metrics that differ between two equal runs."""


def newest_checkpoint(run: RunFolder) -> Path:
    return max(run.checkpoints.glob("iteration-*"))


def tensors(run: RunFolder) -> dict[str, str]:
    """SHA-256 of each file of weights, optimizer and random states in the newest checkpoint."""
    newest = newest_checkpoint(run)
    return {
        f"{newest.name}/{file.name}": hashlib.sha256(file.read_bytes()).hexdigest()
        for file in newest.glob("*.safetensors")
    }


def rest_of_state(run: RunFolder) -> str:
    """All of the state in the newest checkpoint that is no tensor, as JSON."""
    manifest = json.loads((newest_checkpoint(run) / MANIFEST_NAME).read_text())
    return json.dumps(manifest["state"])


def values(run: RunFolder) -> list[dict[str, Any]]:
    """The rows of `metrics.jsonl`, times aside."""
    rows = json_lines(run.metrics)
    return [{key: row[key] for key in row if key not in TIMES} for row in rows]

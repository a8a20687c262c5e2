"""Facts and events of runs that tests have explained."""

from typing import Any

import attrs

from launcher.explain.run_info import RunInfo
from launcher.monitor.status import RunStatus
from launcher.slurm.jobs import QueuedJob
from trainers.config.checkpoint_config import CheckpointConfig
from trainers.config.run_config import ResourcesConfig, RetriesConfig
from trainers.run.attempt_history import Attempt
from trainers.run.run_state import RunState


def make_facts(state="waiting", *, counted=None, stalled=0, **changes):
    """Facts about a run; those with the names of its status go there."""
    status = {
        "name": "a",
        "experiment": "one",
        "folder": "/one/runs/a",
        "state": state,
        "iteration": 40,
        "num_iterations": 100,
        "attempts": counted or {},
        "reason": "",
        "wandb_id": "",
        "is_expected": False,
    }
    names = {each.name for each in attrs.fields(RunStatus)} - {"attempts"}
    status |= {name: changes.pop(name) for name in names & set(changes)}
    facts: dict[str, Any] = {
        "status": RunStatus(**status),
        "state": RunState(attempts=counted or {}, stalled=stalled, saved_iteration=30),
        "retries": RetriesConfig(),
        "resources": ResourcesConfig(gpus=1, cpus=1, memory_gb=16.0, time="01:00:00"),
        "saving": CheckpointConfig(),
        "log": "/one/runs/a/logs/attempt-001.rank-0.log",
        "last_lines": ("Traceback", "ValueError: no"),
    }
    return RunInfo(**(facts | changes))


def job(state, reason=None, **changes):
    known = {
        "state": state,
        "reason": reason,
        "partition": "gpu",
        "nodes": (),
        "time_left_s": None,
        "restarts": 0,
        "start_estimate": None,
    }
    return QueuedJob(**(known | changes))


def waiting_for(reason):
    """A run whose job waits."""
    return make_facts(
        is_expected=True,
        job_id="12_3",
        job_state="PENDING",
        reason=f"preempted (SIGTERM); its job 12_3 waits in the queue: {reason}",
        queued=job("PENDING", reason, start_estimate=1e9),
    )


def failed_by(cause, reason="", **changes):
    attempts = (Attempt(number=1, cause=cause, reason=reason, node="n1"),)
    return make_facts("failed", reason=reason, attempts=attempts, **changes)


EVENTS = [
    {"time": 0, "event": "submitted", "pack": "pack-0000"},
    {
        "time": 10,
        "event": "launched",
        "attempt": 0,
        "job": "12_3",
        "node": "n1",
        "gpus": [["GPU-a"], ["GPU-b"]],
        "logs": ["/logs/0"],
    },
    {"time": 11, "event": "attempt", "pid": 7},
    {"time": 12, "event": "started", "iteration": 0},
    {"time": 20, "event": "checkpoint", "iteration": 30},
    {"time": 30, "event": "ended", "attempt": 0, "cause": "crashed", "reason": "exit code 1"},
    {"time": 31, "event": "launched", "attempt": 1, "node": "n2"},
    {"time": 32, "event": "restored", "iteration": 30},
    {
        "time": 40,
        "event": "ended",
        "cause": "preempted",
        "reason": "preempted (SIGTERM)",
        "iteration": 45,
        "saved": 40,
    },
    {"time": 50, "event": "launched", "attempt": 2},
    {"time": 60, "event": "launched", "attempt": 3},
    {"time": 61, "event": "restored", "iteration": 40},
    {"time": 62, "event": "checkpoint", "iteration": 50},
]


WEIGHTS = {
    "path": "/two/runs/b/checkpoints/iteration-000000100",
    "iteration": 100,
    "averaged": True,
    "num_matched": 10,
    "num_tensors": 13,
    "missing": ["norm.weight [4]"],
    "mismatched": ["head.weight [3, 4], there [1, 4]", "head.bias [3], there [1]"],
    "unexpected": [],
}


REMARKS = [
    {"time": 1, "event": "initialized", **WEIGHTS},
    {"time": 2, "event": "checkpoint_failed", "iteration": 10, "reason": "No space left"},
    {"time": 3, "event": "checkpoint_skipped", "iteration": 20},
    {"time": 4, "event": "checkpoint_failed", "iteration": 30, "reason": "read-only"},
    {
        "time": 5,
        "event": "checkpoint_damaged",
        "name": "iteration-000000035",
        "aside": "damaged-iteration-000000035-0",
        "reason": "rank-00000.safetensors has 5 bytes; 9 were written",
    },
    {"time": 6, "event": "inexact", "reason": "deterministic is false"},
    {"time": 7, "event": "inexact", "reason": "the number of ranks is 2, and was 4"},
    {"time": 8, "event": "inexact", "reason": "deterministic is false"},
]

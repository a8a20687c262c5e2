"""What dashboards and reports at W&B show of runs: panels, by the keys that runs log."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from wandb_workspaces.reports.v2 import BarPlot, LinePlot, MediaBrowser
from wandb_workspaces.reports.v2.interface import PanelTypes

from trainers.run.run_state import Cause

MAX_RUNS = 50
"""Runs in a panel; W&B's own default is 10, fewer than most sweeps have."""
VALIDATION = r"^(val|valid|validation)[/_.].+"
"""Names of metrics that are measured on held-out data, by custom trainers."""
SNAPSHOT = "snapshot"

_CAUSES = tuple(cause for cause in Cause if cause is not Cause.FINISHED)


def loss_panels() -> list[PanelTypes]:
    """Return curves of what is learned; W&B's step is the iteration."""
    return [
        _curve("Loss", "loss", log_y=True),
        _curve("Loss where attempts resumed", "loss", "loss_at_resume", log_y=True),
        LinePlot(
            title="Validation metrics",
            x="Step",
            title_x="iteration",
            metric_regex=VALIDATION,
            max_runs_to_show=MAX_RUNS,
        ),
        _curve("Learning rate", "learning_rate"),
    ]


def speed_panels() -> list[PanelTypes]:
    """Return curves of what an iteration takes, and of what it waits for."""
    return [
        _curve("Samples per second", "samples_per_second"),
        _curve("Step time (s)", "step_time_s"),
        _curve("Data wait (s)", "data_wait_s"),
        _curve("Prefetch hit rate", "data_hit_rate", range_y=(0.0, 1.0)),
        _curve("Save stall (s)", "save_stall_s"),
    ]


def system_panels() -> list[PanelTypes]:
    """Return curves of what runs use of their nodes; of up to 8 GPUs each."""
    return [
        _usage("GPU use (%)", lambda gpu: f"gpu.{gpu}.gpu"),
        _usage("GPU memory (%)", lambda gpu: f"gpu.{gpu}.memoryAllocated"),
        _usage("GPU memory (bytes)", lambda gpu: f"gpu.{gpu}.memoryAllocatedBytes"),
        _usage("CPU use (%)", lambda _: "cpu"),
        _usage("Memory of the run (MB)", lambda _: "proc.memory.rssMB"),
        _usage("Memory of the node (%)", lambda _: "memory_percent"),
    ]


def stop_panels() -> list[PanelTypes]:
    """Return how often attempts ended early, by cause, and when new ones began."""
    return [
        BarPlot(
            title="Attempts by cause, of all runs of an experiment",
            metrics=[f"attempts_by_cause/{cause}" for cause in _CAUSES],
            orientation="h",
            groupby="Group",
            groupby_aggfunc="sum",
            max_bars_to_show=MAX_RUNS,
        ),
        _curve("Attempts started", "attempt_started"),
    ]


def picture_panels() -> list[PanelTypes]:
    """Return the pictures of snapshots; W&B shows the newest of each run first."""
    return [MediaBrowser(title="Newest snapshots", media_keys=[SNAPSHOT], num_columns=2)]


def _curve(title: str, *keys: str, **options: Any) -> LinePlot:
    return LinePlot(
        title=title,
        x="Step",
        title_x="iteration",
        y=list(keys),
        max_runs_to_show=MAX_RUNS,
        **options,
    )


def _usage(title: str, key: Callable[[int], str], *, num_gpus: int = 8) -> LinePlot:
    """Return a curve over the hours of a run: W&B keeps system metrics apart, with times only."""
    keys = dict.fromkeys(f"system/{key(gpu)}" for gpu in range(num_gpus))
    return LinePlot(
        title=title,
        x="RelativeTime(Process)",
        y=list(keys),
        max_runs_to_show=MAX_RUNS,
    )

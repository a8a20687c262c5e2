"""Open the metric writers of a run."""

from __future__ import annotations

import os
import secrets
import signal
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from trainers.config.converter import to_plain
from trainers.metrics.background_writer import BackgroundWriter, Opened
from trainers.metrics.json_lines_writer import JsonLinesWriter, read_rows
from trainers.metrics.metric_writer import MetricWriter, MultiWriter, ThinningWriter
from trainers.run.run_folder import RunFolder
from trainers.run.run_state import read_state, write_state

if TYPE_CHECKING:
    from trainers.config.run_config import RunConfig


def open_metric_writer(
    config: RunConfig, folder: RunFolder, *, start_iteration: int
) -> MetricWriter:
    """Open the writer of an attempt that starts at `start_iteration`: metrics.jsonl, and W&B if on.

    Failures of W&B are logged and never raised; the caller never waits for it.
    """
    lines = JsonLinesWriter(folder, start_iteration=start_iteration)
    writer: MetricWriter = lines
    if config.wandb.mode != "disabled":
        writer = MultiWriter([lines, _open_wandb(config, folder, lines.last_iteration)])
    return ThinningWriter(writer, every=config.metrics.every_iterations)


def _open_wandb(config: RunConfig, folder: RunFolder, last_iteration: int) -> MetricWriter:
    # Set before the import: W&B sends error reports and usage data even in offline mode.
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    state = read_state(folder)
    if not state.wandb_id:
        state = attrs.evolve(state, wandb_id=secrets.token_hex(4))
        write_state(folder, state)

    def open_wandb() -> Opened:
        # On the writer's thread: the import takes 0.5 to 0.9 s.
        from trainers.metrics.wandb_writer import WandbWriter

        writer = WandbWriter(
            folder,
            mode=config.wandb.mode,
            project=config.wandb.project,
            entity=config.wandb.entity,
            run_id=state.wandb_id,
            name=config.name,
            group=config.experiment,
            config=to_plain(config),
            last_iteration=last_iteration,
            segment=state.num_attempts,
        )
        return writer, _rows_between(folder, writer.last_step, last_iteration)

    return BackgroundWriter(open_wandb, name="W&B", kill=_kill_wandb_service)


def _rows_between(
    folder: RunFolder, after: int, last: int
) -> Iterable[tuple[int, Mapping[str, float]]]:
    """Yield the rows after one iteration up to another one, which W&B lacks."""
    if after >= last:
        return
    for iteration, scalars in read_rows(folder.metrics):
        if iteration > last:
            return
        yield iteration, scalars


def _kill_wandb_service() -> None:
    """Kill wandb-core, W&B's service process, which this process would wait for at exit.

    W&B has no public way to do so. The service is a child of whichever thread started it.
    """
    for children in Path("/proc/self/task").glob("*/children"):
        for child in children.read_text().split():
            if Path("/proc", child, "comm").read_text().strip() == "wandb-core":
                os.kill(int(child), signal.SIGKILL)

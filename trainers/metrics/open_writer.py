"""Open the metric writers of a run."""

from __future__ import annotations

import os
import secrets
import signal
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from trainers.config.converter import to_plain
from trainers.metrics.background_writer import BackgroundWriter, Opened
from trainers.metrics.json_lines_writer import JsonLinesWriter, read_rows
from trainers.metrics.metric_writer import MetricWriter, MultiWriter, ThinningWriter
from trainers.metrics.system_metrics import SystemMetrics
from trainers.run.record_writer import RecordWriter
from trainers.run.run_folder import RunFolder
from trainers.run.run_record import RunRecord

if TYPE_CHECKING:
    from trainers.config.run_config import RunConfig

_RECORD_TIMEOUT_S = 60.0
"""What stays unwritten for longer costs W&B; within the time in which W&B may fall behind."""


def open_metric_writer(
    config: RunConfig, record: RunRecord, *, start_iteration: int
) -> MetricWriter:
    """Open the writer of an attempt that starts at `start_iteration`: metrics.jsonl, and W&B if on.

    The caller waits for neither of them; failures are logged and not raised.
    """
    # A thread of its own: a checkpoint waits for its rows, and must not wait for state and events.
    records = RecordWriter(name="metrics")
    lines = JsonLinesWriter(record.folder, records, start_iteration=start_iteration)
    system = SystemMetrics(record.folder, records, attempt=record.state.num_attempts)
    writers: list[MetricWriter] = [system, lines]
    if config.wandb.mode != "disabled":
        writers.append(_open_wandb(config, record, lines, records, start_iteration))
    return ThinningWriter(MultiWriter(writers), every=config.metrics.every_iterations)


def _open_wandb(
    config: RunConfig,
    record: RunRecord,
    lines: JsonLinesWriter,
    records: RecordWriter,
    start_iteration: int,
) -> MetricWriter:
    # Set before the import: W&B sends error reports and usage data even in offline mode.
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    folder = record.folder
    if not record.state.wandb_id:
        record.update(wandb_id=secrets.token_hex(4))
    state = record.state

    def open_wandb() -> Opened:
        # On the writer's thread: the import takes 0.5 to 0.9 s.
        from trainers.metrics.wandb_details import WandbDetails
        from trainers.metrics.wandb_writer import WandbWriter

        # Before a W&B run has rows: the next attempt must know both its id and which rows it lacks.
        record.flush(_RECORD_TIMEOUT_S)
        records.flush(_RECORD_TIMEOUT_S)
        last_iteration = lines.last_iteration
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
            details=WandbDetails(
                folder, config, attempt=state.num_attempts, start_iteration=start_iteration
            ),
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
        with suppress(OSError):  # a thread or a child that has ended meanwhile
            for child in children.read_text().split():
                if Path("/proc", child, "comm").read_text().strip() == "wandb-core":
                    os.kill(int(child), signal.SIGKILL)
